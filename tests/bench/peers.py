#!/usr/bin/env python3
"""make bench-peers: soma beside the servers that one would pick instead.

All answer for the same weights (as ONNX where they are not soma), each on the
first processor alone, at the best configuration that was found (the files in
tests/bench/peers/ say what was tried), in interleaved rounds. An answer that
differs from soma's is an error. Writes build/peers.json.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from load import BUILD, ROUNDS, SECONDS, medians, pinned, pixels, soma, wrk

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "peers")
VENV = os.path.abspath("build/peers-venv/bin")
MLSERVER = os.path.abspath("build/mlserver-venv/bin")
CONNECTIONS = (1, 64)
START_SECONDS = 90
UNAVAILABLE = {
    "Triton": "in no package registry; comes as a container of its own",
    "TensorFlow Serving": "in no package registry; comes as a container",
    "TorchServe": "needs a Java runtime and PyTorch; archived in 2025",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """The process and all that it has started."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    found += family(int(child))
        except OSError:
            pass
    return found


def resident(pid):
    """KiB of proportional memory: what is shared counts once."""
    total = 0
    for each in family(pid):
        try:
            with open(f"/proc/{each}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Peer:
    def __init__(self, name, command, path, body):
        self.name, self.path, self.body = name, path, body
        self.kind = "application/json"
        self.port = free_port()
        self.log = tempfile.TemporaryFile()
        environment = dict(os.environ, PYTHONPATH=PEERS, OMP_NUM_THREADS="1",
                           BENTOML_DO_NOT_TRACK="True",
                           SOMA_ONNX=os.path.abspath("build/cifar10.onnx"))
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            pinned(0, command(self.port)), env=environment, stdout=self.log,
            stderr=self.log, start_new_session=True)
        self.wait()

    def wait(self):
        while time.monotonic() - self.begun < START_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                self.answer = self.ask()
                self.start_ms = (time.monotonic() - self.begun) * 1000
                self.idle_kb = resident(self.process.pid)
                return
            except OSError:
                time.sleep(0.005)
        self.log.seek(0)
        text = self.log.read()[-2000:].decode(errors="replace")
        self.stop()
        sys.exit(f"{self.name} did not start:\n{text}")

    def ask(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.path}", self.body,
            {"Content-Type": self.kind})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def stop(self):
        """The whole family, which is a session of its own."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 15)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()


def probabilities(answer):
    if "outputs" in answer:
        return answer["outputs"][0]["data"]
    return answer["probabilities"]


def start_all(folder):
    one = pixels(3072)
    plain = json.dumps({"pixels": one}).encode()
    tensor = json.dumps({"inputs": [{
        "name": "x", "shape": [1, 3072], "datatype": "FP32",
        "data": one}]}).encode()
    model = os.path.join(folder, "soma")
    os.makedirs(model)
    with open(os.path.join(model, "model-settings.json"), "w") as file:
        json.dump({"name": "soma", "implementation":
                   "mlserver_runtime.Runtime"}, file)

    def mlserver(port):
        with open(os.path.join(folder, "settings.json"), "w") as file:
            json.dump({"http_port": port, "grpc_port": free_port(),
                       "metrics_port": free_port(), "host": "127.0.0.1",
                       "parallel_workers": 0, "debug": False}, file)
        return [f"{MLSERVER}/mlserver", "start", folder]

    starts = [
        ("FastAPI + ONNX Runtime",
         lambda port: [f"{VENV}/uvicorn", "fastapi_app:app", "--host",
                       "127.0.0.1", "--port", str(port), "--app-dir", PEERS,
                       "--no-access-log", "--log-level", "error"],
         "/predict", plain),
        ("LitServe",
         lambda port: [f"{VENV}/python", f"{PEERS}/litserve_app.py",
                       str(port)], "/predict", plain),
        ("BentoML",
         lambda port: [f"{VENV}/bentoml", "serve", "bentoml_app:Soma",
                       "--host", "127.0.0.1", "--port", str(port),
                       "--working-dir", PEERS], "/predict", plain),
        ("MLServer", mlserver, "/v2/models/soma/infer", tensor),
    ]
    servers = []
    try:
        for start in starts:
            servers.append(Peer(*start))
    except BaseException:
        stop_all(servers)
        raise
    return servers, plain


def stop_all(servers):
    for server in servers:
        server.stop()


def check(peer, ours):
    """A peer that answers otherwise is not a peer."""
    theirs = probabilities(peer.answer)
    worst = max(abs(a - b) for a, b in zip(ours, theirs))
    if len(theirs) != len(ours) or worst > 1e-4:
        sys.exit(f"{peer.name} answers otherwise than soma: {worst}")


def installed(venv, names):
    """Bytes of these packages and of what they need."""
    script = '''
import importlib.metadata as m, re, sys
todo, seen, size = sys.argv[1:], set(), 0
while todo:
    name = re.split(r"[ ;<>=!~\\\\[(]", todo.pop())[0].lower().replace("_", "-")
    if name in seen:
        continue
    seen.add(name)
    try:
        d = m.distribution(name)
    except m.PackageNotFoundError:
        continue
    size += sum(f.locate().stat().st_size for f in d.files or []
                if f.locate().exists())
    todo += [r for r in d.requires or [] if "extra ==" not in r]
print(size)
'''
    return int(subprocess.run([f"{venv}/python", "-c", script, *names],
                              capture_output=True, text=True,
                              check=True).stdout)


def measure(folder, servers, ours, plain):
    body = os.path.join(folder, "body")
    raw = os.path.join(folder, "raw")
    with open(raw, "wb") as file:
        file.write(bytes(pixels(3072)))
    with open(body, "wb") as file:
        file.write(plain)
    runs = [("soma", ours.port, "/models/cifar10/predict", body,
             "application/json"),
            ("soma, bytes", ours.port, "/models/cifar10/predict", raw,
             "application/octet-stream")]
    for i, peer in enumerate(servers):
        own = os.path.join(folder, f"body{i}")
        with open(own, "wb") as file:
            file.write(peer.body)
        runs.append((peer.name, peer.port, peer.path, own,
                     "application/json"))
        if peer.name.startswith("FastAPI"):
            runs.append((peer.name + ", bytes", peer.port, peer.path, raw,
                         "application/octet-stream"))
    results = {name: {} for name, *_ in runs}
    for connections in CONNECTIONS:
        rows = {name: [] for name in results}
        for _ in range(ROUNDS):
            for name, port, path, file, kind in runs:
                rows[name].append(
                    wrk(port, kind, file, connections, folder, path))
        for name, columns in rows.items():
            results[name][connections] = medians(columns)
    return results


def main():
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{cores} cores, load {load:.2f}, {ROUNDS} rounds of {SECONDS} s, "
          "in turn")
    os.makedirs("build", exist_ok=True)
    subprocess.run([f"{VENV}/python", f"{PEERS}/model.py",
                    "models/cifar10.safetensors", "build/cifar10.onnx"],
                   check=True)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        ours = soma()
        request = json.dumps({"pixels": pixels(3072)}).encode()
        answer = json.load(urllib.request.urlopen(
            f"http://127.0.0.1:{ours.port}/models/cifar10/predict", request))
        start_ms = (time.monotonic() - begun) * 1000
        idle = resident(ours.process.pid)
        servers, plain = start_all(os.path.join(folder, "mlserver"))
        try:
            for peer in servers:
                check(peer, probabilities(answer))
            results = measure(folder, servers, ours, plain)
            loaded = {p.name: resident(p.process.pid) for p in servers}
            loaded["soma"] = resident(ours.process.pid)
        finally:
            stop_all(servers)
            ours.stop()
    table(results, servers, start_ms, idle, loaded, cores, load)


def table(results, servers, start_ms, idle, loaded, cores, load):
    models = sum(os.path.getsize(f"models/{name}") for name in
                 os.listdir("models") if name.endswith(".safetensors"))
    about = {"soma": (start_ms, idle, loaded["soma"],
                      os.path.getsize(f"{BUILD}/soma") + models)}
    packages = {"FastAPI + ONNX Runtime": (VENV, ["fastapi", "uvicorn",
                                                  "uvloop", "httptools",
                                                  "orjson", "onnxruntime"]),
                "LitServe": (VENV, ["litserve", "onnxruntime"]),
                "BentoML": (VENV, ["bentoml", "onnxruntime"]),
                "MLServer": (MLSERVER, ["mlserver", "onnxruntime"])}
    for peer in servers:
        about[peer.name] = (peer.start_ms, peer.idle_kb, loaded[peer.name],
                            installed(*packages[peer.name]))
    print(f"\n{'one 3072-100-10 prediction':<30} {'1 conn/s':>9} {'p50 ms':>7} "
          f"{'64 conn/s':>9} {'p50 ms':>7} {'p99 ms':>7}")
    for name, row in results.items():
        print(f"{name:<30} {row[1][0]:>9.0f} {row[1][1]:>7.2f} "
              f"{row[64][0]:>9.0f} {row[64][1]:>7.2f} {row[64][2]:>7.2f}")
    print(f"\n{'':<30} {'start ms':>9} {'idle MB':>8} {'loaded MB':>9} "
          f"{'installed MB':>12}")
    for name, (start, low, high, size) in about.items():
        print(f"{name:<30} {start:>9.0f} {low / 1024:>8.1f} "
              f"{high / 1024:>9.1f} {size / 1e6:>12.1f}")
    for name, why in UNAVAILABLE.items():
        print(f"NOT MEASURED: {name}: {why}")
    pairs = []
    for kind, tail in (("JSON", ""), ("bytes", ", bytes")):
        ours = results["soma" + tail]
        theirs = [r for n, r in results.items() if not n.startswith("soma")
                  and n.endswith(", bytes") == bool(tail)]
        times = ours[64][0] / max(r[64][0] for r in theirs)
        latency = ours[1][1] / min(r[1][1] for r in theirs)
        pairs.append({"kind": kind, "times": times, "latency": latency})
        print(f"{kind}: soma beside the best of them: {times:.1f} times the "
              f"requests/s at 64 connections, {latency:.2f} of the median "
              "latency at 1")
    with open("build/peers.json", "w") as file:
        json.dump({"cores": cores, "load": load, "results": results,
                   "about": about, "beside_best": pairs,
                   "not_measured": UNAVAILABLE}, file, indent=1)


if __name__ == "__main__":
    main()
