#!/usr/bin/env python3
"""Mixed traffic for so many seconds while the server is paused, reloaded and
killed: soak.py SECONDS [SEED].

Asserted at the end: no user has complained, nothing that was answered is lost,
descriptors are those of the beginning, memory has not grown since a tenth of a
server's life, and what the journal rebuilds is the digest that was served. Printed:
requests, memory, descriptors and the 99th percentile over the time. Ends with
"N passed, N failed".
"""
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

import users
from soma import PROGRAM, ROOT, Server, check, end

SLICES, GROWTH = 10, 1.15
GROWN = 60  # seconds until a server has met all that it keeps something for
MOST = 128  # megabytes, ever


class Samples(threading.Thread):
    """Memory (MB) and descriptors of each of the server's lives, ten times a
    second: lives[i] is a list of (time, memory, descriptors)."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.lives, self.pid = server, [], None
        self.told = threading.Event()

    def run(self):
        while not self.told.wait(0.1):
            self.sample()

    def sample(self):
        pid = self.server.process.pid
        try:
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
            count = len(os.listdir(f"/proc/{pid}/fd"))
        except (OSError, IndexError):
            return
        if pid != self.pid:
            self.lives.append([])
            self.pid = pid
        if pages:
            self.lives[-1].append((time.monotonic(), pages * 4096 / 2 ** 20,
                                   count))


def faults(server, generator, seconds):
    """A pause or a reload every few seconds; kill -9 after a third and after
    two thirds of the time."""
    start = time.monotonic()
    kills = [start + seconds / 3, start + seconds * 2 / 3]
    counts = {"kill": 0, "pause": 0, "reload": 0}
    while time.monotonic() < start + seconds:
        if kills and time.monotonic() > kills[0]:
            kills.pop(0)
            server.kill()
            server.start()
            counts["kill"] += 1
        elif generator.random() < 0.2:
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(generator.uniform(0.1, 1))
            server.process.send_signal(signal.SIGCONT)
            counts["pause"] += 1
        else:
            server.process.send_signal(signal.SIGHUP)
            counts["reload"] += 1
        time.sleep(generator.uniform(0.2, 2))
    return counts


def lost(teacher, server):
    """Answered examples whose key, sent again, is not answered the same."""
    missing = []
    for number, version in teacher.lessons:
        for _ in range(200):
            status, now = teacher.teach(number)
            if status == 200:
                break
            time.sleep(0.05)
        if (status, now) != (200, version):
            missing.append((number, version, status, now))
    return missing


def memory(life):
    """After a tenth of its life, and in its last tenth."""
    tenth = max(1, len(life) // 10)
    return [statistics.median(sample[1] for sample in part)
            for part in (life[tenth:2 * tenth], life[-tenth:])]


def show_time(predictors, samples, start, seconds):
    print(f"{'seconds':>9} {'predictions':>11} {'p99 ms':>7} {'MB':>6} "
          f"{'descriptors':>11}")
    times = sorted(pair for one in predictors for pair in one.times)
    points = [point for life in samples.lives for point in life]
    for i in range(SLICES):
        low, high = (start + seconds * k / SLICES for k in (i, i + 1))
        took = sorted(t for at, t in times if low <= at < high)
        here = [point for point in points if low <= point[0] < high]
        if took and here:
            print(f"{high - start:>9.0f} {len(took):>11} "
                  f"{took[len(took) * 99 // 100] * 1e3:>7.1f} "
                  f"{max(p[1] for p in here):>6.0f} "
                  f"{max(p[2] for p in here):>11}")


def journal_says(server):
    """The digest that the journal rebuilds, after its check."""
    path = os.path.join(server.data, f"{users.MODEL}.db")
    good = subprocess.run([PROGRAM, "journal", "check", path],
                          capture_output=True, text=True)
    replayed = subprocess.run([PROGRAM, "replay", path], capture_output=True,
                              text=True)
    check("soma journal check", good.returncode == 0,
          good.stdout + good.stderr)
    return replayed.stdout + replayed.stderr


def settled(server):
    """What its descriptors are when nobody is connected any more."""
    time.sleep(2)
    folder = f"/proc/{server.process.pid}/fd"
    return sorted(os.readlink(f"{folder}/{name}").split(":[")[0]
                  for name in os.listdir(folder))


def soak(server, seconds, seed):
    complaints = []
    people = [kind(i, seed, server, complaints)
              for i, kind in enumerate(users.KINDS)]
    for model in ("mnist", "fashion"):  # whose journals are open from then on
        server.ask(f"/models/{model}/train?label=1", users.image(0),
                   Content_Type="application/octet-stream")
    before = settled(server)
    samples = Samples(server)
    start = time.monotonic()
    samples.start()
    for one in people:
        one.start()
    counts = faults(server, random.Random(f"faults {seed}"), seconds)
    samples.told.set()
    for one in people:
        one.told.set()
    for one in people:
        one.join()
    show_time([p for p in people if isinstance(p, users.Predictor)], samples,
              start, time.monotonic() - start)
    for one in people:
        print(f"{type(one).__name__}: {one.counts}")
    print(f"faults: {counts}")
    teacher = next(p for p in people if isinstance(p, users.Teacher))
    check("no user complains", not complaints, complaints[:5])
    check(f"all of {len(teacher.lessons)} answered examples are there",
          teacher.lessons and not (missing := lost(teacher, server)),
          missing[:5])
    teacher.hang_up()
    after = settled(server)
    check(f"descriptors: {len(before)} before, {len(after)} after",
          len(after) <= len(before) + 2, after)
    for life in samples.lives:
        early, late = memory(life)
        age = life[-1][0] - life[0][0]
        check(f"memory: {early:.0f} MB early, {late:.0f} MB late in a life of "
              f"{age:.0f} s",
              late <= MOST and (age < GROWN or late <= early * GROWTH + 8))
    digest = json.loads(server.ask(f"/models/{users.MODEL}")[1])["digest"]
    check("the server stops with 0", server.halt() == 0)
    said = journal_says(server)
    check("soma replay gives the digest that was served", digest in said,
          f"{digest}: {said}")


def main():
    seconds = float(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(10 ** 6))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"soak: {seconds:.0f} s, seed {seed}", flush=True)
    server = Server("--guard-drop", "100", "--keep-examples", "20000",
                    "--checkpoint-examples", "500")
    try:
        soak(server, seconds, seed)
    finally:
        if server.process.poll() is None:
            server.kill()
        shutil.copy(server.log, os.path.join(ROOT, "build", "soak.log"))
    end()


if __name__ == "__main__":
    main()
