"""Servers and load for the benches: one process pinned to the first
processor, wrk on the second."""
import glob
import json
import os
import re
import signal
import statistics
import subprocess
import sys

BUILD = os.environ.get("BUILD", "build/gcc")
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = os.environ.get("SECONDS", "2")


def pixels(count):
    """Values of many lengths, as photographs have."""
    return [(i * 7919 + i * i * 31) % 256 for i in range(count)]


def bodies(folder):
    """The requests: name, model path, content type, body file, images."""
    def save(name, data):
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path
    one = pixels(3072)
    many = [one[i:] + one[:i] for i in range(64)]
    return [
        ("one image, JSON", "application/json",
         save("one.json", json.dumps({"pixels": one}).encode()), 1),
        ("one image, bytes", "application/octet-stream",
         save("one.bin", bytes(one)), 1),
        ("64 images, JSON", "application/json",
         save("many.json", json.dumps({"pixels": many}).encode()), 64),
    ]


def pinned(core, command):
    """The command on one processor, where there are two."""
    if (os.cpu_count() or 1) < 2:
        return command
    return ["taskset", "-c", str(core)] + command


def end_on_sigterm():
    """Asked to end, a bench leaves its `with` blocks, and so stops what it
    has started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


class Server:
    """A program that says its port on the first line that matches. In a
    `with` block, so that no way out of it leaves the program running."""

    def __init__(self, command, pattern, stream, pin=True):
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        pipes[stream] = subprocess.PIPE
        self.process = subprocess.Popen(
            pinned(0, command) if pin else command, **pipes, text=True)
        try:
            self.port = self.find_port(pattern, getattr(self.process, stream))
        except BaseException:
            self.stop()
            raise

    def find_port(self, pattern, lines):
        for line in lines:
            found = re.search(pattern, line)
            if found:
                return int(found.group(1))
        sys.exit(f"{self.process.args} did not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def busy(self):
        """Seconds of processor time that its threads have used."""
        total = 0
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"):
            with open(path) as times:
                total += int(times.read().split()[0])
        return total / 1e9

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def soma(workers=1, models="models"):
    """With more workers than one, not pinned."""
    return Server([f"{BUILD}/soma", "serve", "--listen", "127.0.0.1:0",
                   "--models", models, "--workers", str(workers)],
                  r"http://127\.0\.0\.1:(\d+)", "stderr", workers == 1)


def wrk(port, kind, body, connections, folder,
        path="/models/cifar10/predict"):
    """Requests a second, and the median and 99th percentile in ms."""
    script = os.path.join(folder, "post.lua")
    with open(script, "w") as file:
        file.write(f'''
wrk.method = "POST"
wrk.headers["Content-Type"] = "{kind}"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %f %f %f %d\\n",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    errors.connect + errors.status + errors.read + errors.write +
    errors.timeout))
end
''')
    text = subprocess.run(
        pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s",
                   script, f"http://127.0.0.1:{port}{path}"]),
        capture_output=True, text=True, timeout=float(SECONDS) + 60).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", text)
    if not found:
        sys.exit(f"wrk on port {port} said: {text}")
    rate, median, high, errors = map(float, found.groups())
    if errors:
        sys.exit(f"port {port}: {errors:.0f} requests failed")
    return rate, median, high


def medians(rows):
    return [statistics.median(column) for column in zip(*rows)]
