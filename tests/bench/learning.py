#!/usr/bin/env python3
"""make bench-learning: what durable learning over HTTP gives and costs.

The model is 3072-100-10, the server has one core with one worker and the
model's trainer on it, the load the other; examples come singly, as bytes.

1. Examples/s at 1 and 64 connections, with nothing rehearsed and with 15, by
   one step each; and the median at 1 connection beside what a commit and a
   step cost without a server (record.c, in the same rounds).
2. /predict at 16 connections while 2,000 examples/s are taught, beside without.
3. Recovery of what was taught: learned again from the first record on, and
   from the last checkpoint.

Medians of ROUNDS rounds. Writes build/learning.json. The journals are in
build/, so that their disk is the one of the sources.
"""
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from load import (BUILD, ROUNDS, SECONDS, Server, end_on_sigterm, medians,
                  pinned)

FOLDER = "build/learning"
MODEL = "models/cifar10.safetensors"
BYTES = "application/octet-stream"
RATE, EACH = 2000, 20  # examples a second, and in a request of the teacher


def images(count):
    """Pictures of the test set where it is there, else made ones."""
    path = "data/cifar10/test_batch.bin"
    if os.path.exists(path):
        with open(path, "rb") as file:
            data = file.read(3073 * count)
        rows = [data[i * 3073:(i + 1) * 3073] for i in range(count)]
        return [(row[1:], row[0]) for row in rows]
    return [(bytes((i * 31 + k * k * 7 + k * i) % 256 for k in range(3072)),
             i % 10) for i in range(count)]


def write_pictures(pictures):
    """For load."""
    os.makedirs(FOLDER, exist_ok=True)
    for i, (image, label) in enumerate(pictures):
        with open(f"{FOLDER}/{i}.bin", "wb") as file:
            file.write(image)
        with open(f"{FOLDER}/{i}.label", "w", encoding="ascii") as file:
            file.write(str(label))


class Taught(Server):
    """A server with a fresh journal, or with the one that is there."""

    def __init__(self, *options, fresh=True):
        if fresh:
            shutil.rmtree(FOLDER + "/data", ignore_errors=True)
        super().__init__([f"{BUILD}/soma", "serve", "--listen", "127.0.0.1:0",
                          "--models", MODEL, "--workers", "1", "--data",
                          FOLDER + "/data", *options],
                         r"http://127\.0\.0\.1:(\d+)", "stderr")
        while self.get("/readyz") is None:
            time.sleep(0.001)

    def get(self, path):
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            return None


def load(port, connections, path, seconds=SECONDS):
    """wrk over all pictures in turn: requests/s, median and p99 in ms. `path`
    ends in "label=" where the label is to follow."""
    script = f"{FOLDER}/load-{port}.lua"
    label = " .. label" if path.endswith("=") else ""
    with open(script, "w", encoding="ascii") as file:
        file.write(f'''
local requests, next = {{}}, 0
-- wrk takes no connection whose descriptor is above some ten: close files.
function read(name)
  local file = io.open("{FOLDER}/" .. name, "rb")
  local text = file:read("*a")
  file:close()
  return text
end
function init(arguments)
  for i = 0, 255 do
    local label = read(i .. ".label")
    requests[i] = wrk.format("POST", "{path}"{label},
      {{["Content-Type"] = "{BYTES}"}}, read(i .. ".bin"))
  end
end
function request()
  next = (next + 1) % 256
  return requests[next]
end
function done(summary, latency, r)
  local e = summary.errors
  io.write(string.format("RESULT %f %f %f %d\\n",
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    e.connect + e.status + e.read + e.write + e.timeout))
end
''')
    text = subprocess.run(
        pinned(1, ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s",
                   script, f"http://127.0.0.1:{port}/"]),
        capture_output=True, text=True, timeout=float(seconds) + 60).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+)", text)
    if not found or float(found.group(4)):
        sys.exit(f"wrk said: {text}")
    return tuple(map(float, found.groups()[:3]))


# ---- 1. Examples a second ----

WAYS = (("nothing rehearsed", ("--rehearse", "0", "--max-steps", "1",
                               "--pull", "0")),
        ("15 rehearsed", ("--rehearse", "15", "--max-steps", "1",
                          "--pull", "0")),
        ("as by default", ()))


def bare():
    """Microseconds: commit, step, step with 15."""
    text = subprocess.run(
        pinned(0, [f"{BUILD}/tests/bench/record", FOLDER, MODEL]),
        capture_output=True, text=True, check=True).stdout
    return tuple(map(float, text.split()))


def teaching(report):
    costs = medians([bare() for _ in range(ROUNDS)])
    report["commit_us"], report["step_us"], report["step_15_us"] = costs
    print(f"without a server: a commit takes {costs[0]:.0f} us, a step "
          f"{costs[1]:.0f} us, with 15 rehearsed {costs[2]:.0f} us\n"
          f"{'/train':<20} {'conns':>5} {'examples/s':>10} {'p50 ms':>7} "
          f"{'p99 ms':>7} {'p50 / (commit + step)':>22}")
    for k, (name, options) in enumerate(WAYS):
        for connections in (1, 64):
            rounds = []
            for _ in range(ROUNDS):
                with Taught(*options) as server:
                    rounds.append(load(server.port, connections,
                                       "/train?label="))
            rate, p50, p99 = medians(rounds)
            least = (costs[0] + costs[min(k + 1, 2)]) / 1000
            ratio = p50 / least if connections == 1 and k < 2 else None
            shown = "-" if ratio is None else f"{ratio:.2f}"
            print(f"{name:<20} {connections:>5} {rate:>10.0f} {p50:>7.2f} "
                  f"{p99:>7.2f} {shown:>22}", flush=True)
            report["train"].append(
                {"way": name, "connections": connections,
                 "examples_per_second": rate, "p50_ms": p50, "p99_ms": p99,
                 "ratio": ratio})


# ---- 2. Predicting meanwhile ----

class Teacher(threading.Thread):
    """`rate` examples a second, EACH of one label in a request. It writes what
    was made once, on the load's processor: its own work must not be what
    delays the answers that are timed."""

    def __init__(self, port, pictures, rate=RATE):
        super().__init__()
        self.rate = rate
        self.taught, self.going, self.refused = 0, True, None
        body = b"".join(image for image, _ in pictures[:EACH])
        head = (f"POST /train?label=3 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Content-Type: {BYTES}\r\nContent-Length: {len(body)}\r\n"
                f"\r\n")
        self.request = head.encode() + body
        self.line = socket.create_connection(("127.0.0.1", port))

    def run(self):
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, [1])  # of this thread
        due = time.monotonic()
        while self.going:
            self.line.sendall(self.request)
            answer = b""
            while not answer.endswith(b"}\n"):
                answer += self.line.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                self.refused = answer
                break
            self.taught += EACH
            due += EACH / self.rate
            time.sleep(max(0, due - time.monotonic()))
        self.line.close()


def predicting(report, pictures):
    alone, beside, rates = [], [], []
    with Taught(*WAYS[0][1]) as server:
        for _ in range(ROUNDS):
            alone.append(load(server.port, 16, "/predict"))
            teacher = Teacher(server.port, pictures)
            teacher.start()
            begin = time.monotonic()
            beside.append(load(server.port, 16, "/predict"))
            rates.append(teacher.taught / (time.monotonic() - begin))
            teacher.going = False
            teacher.join()
            if teacher.refused:
                sys.exit(f"/train answered {teacher.refused}")
    (_, _, before), (rate, _, during) = medians(alone), medians(beside)
    report["predict"] = {"p99_ms": before, "p99_while_learning_ms": during,
                         "ratio": during / before,
                         "examples_per_second": statistics.median(rates)}
    print(f"\n/predict, 16 connections: p99 {before:.2f} ms; while "
          f"{statistics.median(rates):.0f} examples/s are taught {during:.2f} "
          f"ms, {during / before:.2f} of it ({rate:.0f} requests/s)")


# ---- 3. Recovery ----

def settled(server):
    """What the model says once what the load left behind is learned, too."""
    last = None
    while True:
        now = json.loads(server.get("/models/cifar10"))
        if last and now["version"] == last["version"]:
            return now
        last = now
        time.sleep(0.5)


def recovery(report):
    """Of some 100,000 examples, nothing rehearsed."""
    options = WAYS[0][1]
    with Taught(*options) as server:
        taught = 0
        while taught < 100000:
            load(server.port, 64, "/train?label=", 5)
            model = settled(server)
            taught, digest = model["examples"], model["digest"]
        server.process.kill()
    begin = time.monotonic()
    text = subprocess.run(
        pinned(0, [f"{BUILD}/soma", "replay", FOLDER + "/data/cifar10.db"]),
        capture_output=True, text=True, check=True).stdout
    replay = time.monotonic() - begin
    begin = time.monotonic()
    with Taught(*options, fresh=False) as server:
        start = time.monotonic() - begin
        same = json.loads(server.get("/models/cifar10"))["digest"] == digest
    if not same or digest not in text:
        sys.exit("the digests differ")
    report["recovery"] = {"examples": taught, "replay_s": replay,
                          "start_s": start}
    print(f"\nrecovery of {taught} examples after kill -9: from the first on "
          f"{replay:.1f} s, from the last checkpoint {start:.2f} s; digests "
          f"equal")


def measure(report):
    pictures = images(256)
    write_pictures(pictures)
    report["train"] = []
    teaching(report)
    predicting(report, pictures)
    recovery(report)
    shutil.rmtree(FOLDER)


def main():
    end_on_sigterm()
    report = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    print(f"{report['cores']} cores, load {report['load']:.2f}, {ROUNDS} "
          f"rounds of {SECONDS} s")
    measure(report)
    with open("build/learning.json", "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
