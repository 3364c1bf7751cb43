#!/usr/bin/env python3
"""make bench-attacks: what good clients notice of bad ones and of overload.

The server has the first processor, with one worker; who loads it the second.
The model is 3072-100-10.

1. A good client asks for 500 predictions a second, each at its time. Its median
   and 99th percentile while each attack of attackers.py goes on, beside without,
   in turn; and the server's memory at the highest.
2. Goodput: /predict by more and more connections that ask at once again, and
   /train by more and more requests a second, whether answered or not: answered
   200 and refused 503 a second, and the 99th percentile of the former.

Medians of ROUNDS rounds. Writes build/attacks.json.
"""
import collections
import json
import os
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from attackers import KINDS, LIMIT
from load import BUILD, ROUNDS, SECONDS, Server, end_on_sigterm, pinned, wrk

RATE, LONG = 500, 3.0
HEAD = (b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: "
        b"application/octet-stream\r\nContent-Length: %d\r\n\r\n")
IMAGE = bytes((i * 7919 + i * i * 31) % 256 for i in range(3072))


def request(path, body=IMAGE):
    return HEAD % (path.encode(), len(body)) + body


class Attacked(Server):
    def __init__(self, *options):
        super().__init__([f"{BUILD}/soma", "serve", "--listen", "127.0.0.1:0",
                          "--models", "models/cifar10.safetensors",
                          "--workers", "1", *options],
                         r"http://127\.0\.0\.1:(\d+)", "stderr")

    def peak(self):
        """Highest memory since the last reset, in MB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            line = next(x for x in f if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w",
                  encoding="ascii") as file:
            file.write("5")


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def answer_of(connection):
    """The status of an answer, read whole."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536)
    head, _, body = text.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1])


def good_client(port, seconds):
    """Milliseconds of each prediction, from the time when it was due: who is
    late by the server's fault has waited from then on."""
    times, sent = [], request("/models/cifar10/predict")
    connection = socket.create_connection(("127.0.0.1", port), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    due = time.perf_counter()
    until = due + seconds
    while due < until:
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
            due = max(due, time.perf_counter())
        connection.sendall(sent)
        if answer_of(connection) != 200:
            sys.exit("a good client was refused")
        times.append((time.perf_counter() - due) * 1e3)
        due += 1 / RATE
    connection.close()
    return times


def under_attack(name, server):
    attacker = subprocess.Popen(
        pinned(1, [sys.executable, "tests/bench/attackers.py", name,
                   str(server.port), str(LONG + 30)]),
        stdout=subprocess.PIPE, text=True)
    try:
        if attacker.stdout.readline() != "ready\n":
            sys.exit(f"{name}: the attacker did not start")
        time.sleep(0.5)
        return good_client(server.port, LONG)
    finally:
        attacker.kill()
        attacker.wait()


def attacks(report):
    print(f"good client: {RATE} predictions a second\n"
          f"{'beside it':<30} {'p50 ms':>7} {'p99 ms':>7} {'p99 without':>11} "
          f"{'ratio':>6} {'peak MB':>8}")
    options = ("--max-connections", "12000",
               "--max-connections-per-address", "12000")
    for name in KINDS:
        rows = []
        with Attacked(*options) as server:
            good_client(server.port, 0.5)
            for _ in range(ROUNDS):
                alone = good_client(server.port, LONG)
                server.reset_peak()
                beside = under_attack(name, server)
                rows.append((percentile(beside, 0.5), percentile(beside, 0.99),
                             percentile(alone, 0.99), server.peak()))
                time.sleep(0.5)
        p50, p99, without, peak = (statistics.median(c) for c in zip(*rows))
        ratio = statistics.median(row[1] / row[2] for row in rows)
        print(f"{name:<30} {p50:>7.2f} {p99:>7.2f} {without:>11.2f} "
              f"{ratio:>6.2f} {peak:>8.0f}", flush=True)
        report["attacks"][name] = {"p50_ms": p50, "p99_ms": p99,
                                   "p99_without_ms": without, "ratio": ratio,
                                   "peak_mb": peak}


# ---- Goodput ----

def more_connections(report, folder):
    body = os.path.join(folder, "one.bin")
    with open(body, "wb") as file:
        file.write(IMAGE)
    print(f"\n{'/predict, connections':<22} {'answered/s':>10} {'p50 ms':>7} "
          f"{'p99 ms':>7}")
    with Attacked("--max-connections", "8000",
                  "--max-connections-per-address", "8000") as server:
        for count in (1, 4, 16, 64, 256, 1024, 4096):
            rows = [wrk(server.port, "application/octet-stream", body, count,
                        folder) for _ in range(ROUNDS)]
            rate, p50, p99 = (statistics.median(c) for c in zip(*rows))
            print(f"{count:<22} {rate:>10.0f} {p50:>7.2f} {p99:>7.2f}",
                  flush=True)
            report["predict"].append({"connections": count, "rate": rate,
                                      "p50_ms": p50, "p99_ms": p99})


class Offering:
    """Requests that are sent each at its time, on a connection where nothing
    is waited for, whether those before are answered or not."""

    def __init__(self, port, sent):
        self.port, self.sent = port, sent
        self.free, self.ready = [], selectors.DefaultSelector()
        self.times, self.counts = [], collections.Counter()

    def run(self, rate, seconds):
        """So many a second; then waits for the last answers, 10 s at most."""
        start = time.perf_counter()
        total, offered = int(rate * seconds), 0
        while offered < total:
            while offered < total and \
                    start + offered / rate <= time.perf_counter():
                self.offer(start + offered / rate)
                offered += 1
            self.take(0)
        while self.waiting() and time.perf_counter() < start + seconds + 10:
            self.take(0.05)
        for key in list(self.ready.get_map().values()):
            key.fileobj.close()
        return self

    def waiting(self):
        return len(self.free) < len(self.ready.get_map())

    def offer(self, due):
        if self.free:
            one = self.free.pop()
        else:
            one = socket.create_connection(("127.0.0.1", self.port), 30)
            self.ready.register(one, selectors.EVENT_READ, [0])
        self.ready.get_key(one).data[0] = due
        one.sendall(self.sent)

    def take(self, wait):
        for key, _ in self.ready.select(wait):
            status = answer_of(key.fileobj)
            self.counts[status] += 1
            if status == 200:
                self.times.append((time.perf_counter() - key.data[0]) * 1e3)
            self.free.append(key.fileobj)


def more_examples(report):
    sent = request("/models/cifar10/train?label=3")
    print(f"\n{'/train, offered/s':<22} {'answered/s':>10} {'refused/s':>10} "
          f"{'p50 ms':>7} {'p99 ms':>8}")
    with tempfile.TemporaryDirectory(dir="build") as data, \
            Attacked("--data", data, "--max-waiting", "256",
                     "--max-connections-per-address", "4096",
                     "--guard-drop", "100") as server:
        seconds = float(SECONDS)
        for rate in (125, 250, 500, 1000, 1500, 2000, 3000, 4500):
            runs = [Offering(server.port, sent).run(rate, seconds)
                    for _ in range(ROUNDS)]
            if any(set(run.counts) - {200, 503} for run in runs):
                sys.exit(f"answers: {[run.counts for run in runs]}")
            row = {"offered": rate}
            for name, status in (("answered", 200), ("refused", 503)):
                row[name] = statistics.median(run.counts[status] / seconds
                                              for run in runs)
            for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99)):
                row[name] = statistics.median(percentile(run.times, part)
                                              for run in runs)
            print(f"{rate:<22} {row['answered']:>10.0f} {row['refused']:>10.0f} "
                  f"{row['p50_ms']:>7.1f} {row['p99_ms']:>8.1f}", flush=True)
            report["train"].append(row)


def main():
    end_on_sigterm()
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    report = {"attacks": {}, "predict": [], "train": []}
    attacks(report)
    with tempfile.TemporaryDirectory() as folder:
        more_connections(report, folder)
    more_examples(report)
    with open("build/attacks.json", "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
