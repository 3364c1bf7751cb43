#!/usr/bin/env python3
"""make bench-peers: soma beside the servers that one would pick instead.

All answer for the same weights (as ONNX where they are not soma), each on the
first processor alone, at the best configuration that was found (the files in
tests/bench/peers/ say what was tried), in interleaved rounds. A peer whose
turn it is not is frozen: some wait in loops that take an eighth of the core.
An answer that differs from soma's is an error. Writes build/peers.json.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from load import (BUILD, ROUNDS, SECONDS, end_on_sigterm, medians, pinned,
                  pixels, wrk)

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, "peers")
VENV = os.path.abspath("build/peers-venv/bin")
MLSERVER = os.path.abspath("build/mlserver-venv/bin")
CONNECTIONS = (1, 64)
START_SECONDS = 90
UNAVAILABLE = {
    "Triton": "in no package registry; comes as a container of its own",
    "TensorFlow Serving": "in no package registry; comes as a container",
    "TorchServe": "its workers import PyTorch, which as a package brings "
                  "CUDA, and it needs a Java runtime",
}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def family(pid):
    """The process and all that it has started."""
    found = [pid]
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    found += family(int(child))
        except OSError:
            pass
    return found


def resident(pid):
    """KiB of proportional memory: what processes share counts once, so
    that no other server with the same libraries may run meanwhile."""
    total = 0
    for each in family(pid):
        try:
            with open(f"/proc/{each}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) for line in file
                             if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def started(pid):
    """When the process began, which with its number names it; or None."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def tell_group(pid, signum):
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        pass


def tell(processes, signum):
    for each in processes:
        try:
            os.kill(each, signum)
        except ProcessLookupError:
            pass


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
        try:
            self.wait()
        except BaseException:
            self.stop()
            raise

    def wait(self):
        while time.monotonic() - self.begun < START_SECONDS:
            if self.process.poll() is not None:
                break
            try:
                self.answer = self.ask()
                self.start_ms = (time.monotonic() - self.begun) * 1000
                return
            except OSError:
                time.sleep(0.002)
        self.log.seek(0)
        text = self.log.read()[-2000:].decode(errors="replace")
        sys.exit(f"{self.name} did not start:\n{text}")

    def ask(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.path}", self.body,
            {"Content-Type": self.kind})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def freeze(self):
        tell(family(self.process.pid), signal.SIGSTOP)

    def thaw(self):
        tell(family(self.process.pid), signal.SIGCONT)

    def stop(self):
        """The whole family, also those who made a session of their own."""
        if self.process.poll() is not None:
            tell_group(self.process.pid, signal.SIGKILL)
            return
        processes = {each: started(each)
                     for each in family(self.process.pid)}
        tell(processes, signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # A number may have gone to another process by now.
        tell([each for each, begun in processes.items()
              if begun and started(each) == begun], signal.SIGKILL)
        tell_group(self.process.pid, signal.SIGKILL)


def probabilities(answer):
    if "outputs" in answer:
        return answer["outputs"][0]["data"]
    return answer["probabilities"]


def servers(folder):
    """All to start, soma first: name, command, path, body."""
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
                       "parallel_workers": 0, "debug": False,
                       "gzip_enabled": False, "metrics_endpoint": None},
                      file)
        return [f"{MLSERVER}/mlserver", "start", folder]

    return [
        ("soma",
         lambda port: [f"{BUILD}/soma", "serve", "--listen",
                       f"127.0.0.1:{port}", "--models", "models",
                       "--workers", "1"],
         "/models/cifar10/predict", plain),
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


def alone(start, folder):
    """Start to the first answer in ms, KiB idle and after load: one server
    at a time."""
    peer = Peer(*start)
    try:
        idle = resident(peer.process.pid)
        wrk(peer.port, peer.kind, body_file(peer, folder), 64, folder,
            peer.path)
        return peer.start_ms, idle, resident(peer.process.pid)
    finally:
        peer.stop()


def body_file(peer, folder):
    path = os.path.join(folder, "body-" + peer.name.split()[0])
    with open(path, "wb") as file:
        file.write(peer.body)
    return path


def check(peer, answer):
    """A peer that answers otherwise is not a peer."""
    ours, theirs = probabilities(answer), probabilities(peer.answer)
    worst = max(abs(a - b) for a, b in zip(ours, theirs))
    # The protocol of MLServer leaves the label to the client.
    label = peer.answer.get("label", theirs.index(max(theirs)))
    if (len(theirs) != len(ours) or not worst <= 1e-4
            or label != answer["label"]):
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


def measure(folder, peers):
    raw = os.path.join(folder, "raw")
    with open(raw, "wb") as file:
        file.write(bytes(pixels(3072)))
    runs = []
    for peer in peers:
        runs.append((peer.name, peer, body_file(peer, folder), peer.kind))
        if peer.name.startswith(("soma", "FastAPI")):
            runs.append((peer.name + ", bytes", peer, raw,
                         "application/octet-stream"))
    results = {name: {} for name, *_ in runs}
    for connections in CONNECTIONS:
        rows = {name: [] for name in results}
        for _ in range(ROUNDS):
            for name, peer, file, kind in runs:
                peer.thaw()
                rows[name].append(wrk(peer.port, kind, file, connections,
                                      folder, peer.path))
                peer.freeze()
                if not rows[name][-1][0]:
                    sys.exit(f"{name} answered nothing")
        for name, columns in rows.items():
            results[name][connections] = medians(columns)
    return results


def together(folder, starts):
    """Requests/s of all, each in its turn; soma is the one to agree with."""
    peers = []
    try:
        for start in starts:
            peers.append(Peer(*start))
            peers[-1].freeze()
            check(peers[-1], peers[0].answer)
        return measure(folder, peers)
    finally:
        for peer in peers:
            peer.stop()


def main():
    end_on_sigterm()
    cores, load = os.cpu_count(), os.getloadavg()[0]
    if cores > 1:
        os.sched_setaffinity(0, {1})
    print(f"{cores} cores, load {load:.2f}, {ROUNDS} rounds of {SECONDS} s, "
          "in turn")
    if load > 0.5:
        # Unlike the peers, soma is held up by wrk when wrk shares its core.
        print("the machine is not idle: that costs soma more than the peers")
    os.makedirs("build", exist_ok=True)
    subprocess.run([f"{VENV}/python", f"{PEERS}/model.py",
                    "models/cifar10.safetensors", "build/cifar10.onnx"],
                   check=True)
    with tempfile.TemporaryDirectory() as folder:
        starts = servers(os.path.join(folder, "mlserver"))
        about = {start[0]: [] for start in starts}
        for _ in range(ROUNDS):
            for start in starts:
                about[start[0]].append(alone(start, folder))
        results = together(folder, starts)
    table(results, {name: medians(rows) for name, rows in about.items()},
          cores, load)


def sizes():
    """Bytes installed: for soma the program and the shipped models (its
    libraries are Debian's), for the others the Python packages that they
    need, without the interpreter."""
    models = sum(os.path.getsize(f"models/{name}") for name in
                 os.listdir("models") if name.endswith(".safetensors"))
    packages = {"FastAPI + ONNX Runtime": (VENV, ["fastapi", "uvicorn",
                                                  "uvloop", "httptools",
                                                  "orjson", "onnxruntime"]),
                "LitServe": (VENV, ["litserve", "onnxruntime"]),
                "BentoML": (VENV, ["bentoml", "onnxruntime"]),
                "MLServer": (MLSERVER, ["mlserver", "onnxruntime"])}
    return {"soma": os.path.getsize(f"{BUILD}/soma") + models,
            **{name: installed(*each) for name, each in packages.items()}}


def table(results, about, cores, load):
    size = sizes()
    about = {name: [*row, size[name]] for name, row in about.items()}
    print(f"\n{'one 3072-100-10 prediction':<30} {'1 conn/s':>9} {'p50 ms':>7} "
          f"{'64 conn/s':>9} {'p50 ms':>7} {'p99 ms':>7}")
    for name, row in results.items():
        print(f"{name:<30} {row[1][0]:>9.0f} {row[1][1]:>7.2f} "
              f"{row[64][0]:>9.0f} {row[64][1]:>7.2f} {row[64][2]:>7.2f}")
    print(f"\n{'':<30} {'start ms':>9} {'idle MB':>8} {'loaded MB':>9} "
          f"{'installed MB':>12}")
    for name, (start, low, high, bulk) in about.items():
        print(f"{name:<30} {start:>9.0f} {low / 1024:>8.1f} "
              f"{high / 1024:>9.1f} {bulk / 1e6:>12.1f}")
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
