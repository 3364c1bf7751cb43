#!/usr/bin/env python3
"""make bench-replicas: what replicas on one journal in Redis give and cost.

The model is 3072-100-10; one to four replicas with one worker share the first
processor, Redis and the load the second: so what is measured is what each
thing costs, and from that the README's model says how many processors carry
what. Costs are processor time of a process, not of the clock.

1. A prediction; an example, at the replica that is taught and at one that only
   follows; both in Redis, with appendfsync always and everysec.
2. The model beside the measurement: examples/s of one to four replicas, with
   one and with all of them taught, and predictions/s while examples are taught.
3. Joining: from start to ready, with a checkpoint of some MB.

Medians of ROUNDS rounds. Writes build/replicas.json.
"""
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

from learning import FOLDER, Teacher, WAYS, images, load, write_pictures
from load import (BUILD, ROUNDS, SECONDS, Server, end_on_sigterm, pinned)

CONNECTIONS, MOST = 32, 4
RATE = 500  # examples a second, while predictions are counted


class Redis:
    """A server of the bench's own, with its files in build/."""

    def __init__(self, fsync):
        self.folder = f"{FOLDER}/redis"
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            pinned(1, ["redis-server", "--bind", "127.0.0.1", "--port",
                       str(self.port), "--dir", self.folder, "--save", "",
                       "--appendonly", "yes", "--appendfsync", fsync]),
            stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        self.process.kill()
        sys.exit("redis-server did not start")

    busy = Server.busy
    stop = Server.stop

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Replica(Server):
    def __init__(self, redis, *options, model="models/cifar10.safetensors"):
        super().__init__(
            [f"{BUILD}/soma", "serve", "--listen", "127.0.0.1:0", "--models",
             model, "--workers", "1", "--journal",
             f"redis://127.0.0.1:{redis.port}", *options],
            r"http://127\.0\.0\.1:(\d+)", "stderr")
        # What it says later is of no use here, and must not fill the pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        while self.get("/readyz") is None:
            time.sleep(0.001)

    def get(self, path):
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            return None

    def version(self):
        text = self.get("/models")
        return json.loads(text)["models"][0]["version"]


class Replicas(list):
    def __init__(self, redis, count, *options):
        super().__init__()
        try:
            for _ in range(count):
                self.append(Replica(redis, *options))
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for replica in self:
            replica.stop()

    def settle(self):
        """Until all have the same version, which is returned."""
        while len(versions := {replica.version() for replica in self}) > 1:
            time.sleep(0.01)
        return versions.pop()


def together(replicas, path):
    """wrk at each of them at once: requests/s of all."""
    rates = []

    def one(replica):
        rates.append(load(replica.port, CONNECTIONS // len(replicas), path))
    threads = [threading.Thread(target=one, args=(r,)) for r in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(rates) < len(replicas):
        sys.exit("wrk failed")
    return sum(rate for rate, _, _ in rates)


def teach(redis, replicas, taught):
    """Examples/s, and processor time for each in us: in Redis, at the first of
    the replicas and at the last."""
    before, began = replicas.settle(), time.monotonic()
    watched = (redis, replicas[0], replicas[-1])
    busy = [each.busy() for each in watched]
    together(replicas[:taught], "/train?label=")
    count = replicas.settle() - before
    elapsed = time.monotonic() - began
    return (count / elapsed,
            *((each.busy() - was) / count * 1e6
              for each, was in zip(watched, busy)))


def middle(rows):
    return [statistics.median(column) for column in zip(*rows)]


# ---- 1. Costs ----

def costs(report):
    print(f"{'':<20} {'appendfsync':<12} {'examples/s':>10}   us of a "
          "processor: taught, follows, in Redis")
    for name, options in WAYS:
        for fsync in ("always", "everysec"):
            with Redis(fsync) as redis, \
                    Replicas(redis, 2, *options) as replicas:
                teach(redis, replicas, 1)
                rate, stream, teacher, follower = middle(
                    [teach(redis, replicas, 1) for _ in range(ROUNDS)])
            report["costs"].append(
                {"way": name, "fsync": fsync, "examples_per_second": rate,
                 "taught_us": teacher, "follows_us": follower,
                 "redis_us": stream})
            print(f"{name:<20} {fsync:<12} {rate:>10.0f}   {teacher:>6.0f} "
                  f"{follower:>6.0f} {stream:>6.0f}", flush=True)
    rows = []
    with Redis("always") as redis, Replicas(redis, 1) as replicas:
        for _ in range(ROUNDS):
            busy = replicas[0].busy()
            rate = together(replicas, "/predict")
            used = replicas[0].busy() - busy
            rows.append((rate, used / (rate * float(SECONDS)) * 1e6))
    report["predictions_per_second"], report["predict_us"] = middle(rows)
    print(f"/predict: {report['predictions_per_second']:.0f}/s, "
          f"{report['predict_us']:.1f} us each")


# ---- 2. The model beside the measurement ----

def cost_of(report, way, fsync="always"):
    return next(row for row in report["costs"]
                if (row["way"], row["fsync"]) == (way, fsync))


def scaling(report, pictures):
    """All share one processor: it is used up by M examples/s and N predictions
    a second when N p + M (h + R e) = 1 s, where e is the cost of an example at
    a replica that follows, and h + e that at the one that is taught."""
    print(f"\n{'replicas':>8} {'taught':>6} {'fsync':<9} {'examples/s':>10} "
          f"{'the model':>10}")
    for count in range(1, MOST + 1):
        for taught, fsync in ((1, "always"), (count, "always"),
                              (count, "everysec")):
            if taught == 1 and count == 1 and fsync == "always" and \
                    any(r["replicas"] == 1 for r in report["scaling"]):
                continue
            cost = cost_of(report, "15 rehearsed", fsync)
            with Redis(fsync) as redis, \
                    Replicas(redis, count, *WAYS[1][1]) as replicas:
                teach(redis, replicas, taught)
                rate = middle([teach(redis, replicas, taught)
                               for _ in range(ROUNDS)])[0]
            expected = 1e6 / (cost["taught_us"] +
                              (count - 1) * cost["follows_us"])
            report["scaling"].append(
                {"replicas": count, "taught": taught, "fsync": fsync,
                 "examples_per_second": rate, "expected": expected})
            print(f"{count:>8} {taught:>6} {fsync:<9} {rate:>10.0f} "
                  f"{expected:>10.0f}", flush=True)
    predicting(report, pictures)


def predicting(report, pictures):
    cost = cost_of(report, "15 rehearsed")
    print(f"\n{'replicas':>8} {'examples/s':>10} {'predictions/s':>13} "
          f"{'the model':>10}")
    for count in range(1, MOST + 1):
        rows = []
        with Redis("always") as redis, \
                Replicas(redis, count, *WAYS[1][1]) as replicas:
            for _ in range(ROUNDS):
                teacher = Teacher(replicas[0].port, pictures, RATE)
                teacher.start()
                before, began = replicas[0].version(), time.monotonic()
                rate = together(replicas, "/predict")
                learned = replicas[0].version() - before
                rows.append((rate, learned / (time.monotonic() - began)))
                teacher.going = False
                teacher.join()
                replicas.settle()
        rate, learned = middle(rows)
        # A teacher's request has 20 examples: what HTTP costs is shared.
        left = 1e6 - learned * count * cost["follows_us"]
        expected = max(left, 0) / report["predict_us"]
        report["predicting"].append(
            {"replicas": count, "examples_per_second": learned,
             "predictions_per_second": rate, "expected": expected})
        print(f"{count:>8} {learned:>10.0f} {rate:>13.0f} {expected:>10.0f}",
              flush=True)


# ---- 3. Joining ----

def joining(report):
    print()
    for model in ("cifar10", "cifar10-deep"):
        path = f"models/{model}.safetensors"
        rows, size = [], 0
        with Redis("always") as redis:
            with Replica(redis, model=path) as first:
                together([first], f"/models/{model}/train?label=")
                version = at_rest(first)
            # Stopping has written a checkpoint.
            size = state_size(redis, model)
            for _ in range(ROUNDS):
                busy, began = redis.busy(), time.monotonic()
                with Replica(redis, model=path) as joined:
                    elapsed = time.monotonic() - began
                    if joined.version() != version:
                        sys.exit("it has not joined")
                    rows.append((elapsed * 1e3, joined.busy() * 1e3,
                                 (redis.busy() - busy) * 1e3))
        elapsed, own, stream = middle(rows)
        report["joining"].append(
            {"model": model, "mb": size / 1e6, "ready_ms": elapsed,
             "busy_ms": own, "redis_ms": stream})
        print(f"joining, {model}, a checkpoint of {size / 1e6:.1f} MB: ready "
              f"after {elapsed:.0f} ms, of which {own:.0f} of its processor, "
              f"{stream:.0f} in Redis", flush=True)


def at_rest(replica):
    """Its version, once what wrk left behind is learned."""
    version = -1
    while version != (version := replica.version()):
        time.sleep(0.5)
    return version


def state_size(redis, model):
    rows = subprocess.run(
        ["redis-cli", "-p", str(redis.port), "ZREVRANGE",
         f"soma:{{{model}}}:checkpoints", "0", "0"], capture_output=True,
        text=True, check=True).stdout
    return int(rows.split(":")[2])


def main():
    end_on_sigterm()
    report = {"cores": os.cpu_count(), "load": os.getloadavg()[0],
              "costs": [], "scaling": [], "predicting": [], "joining": []}
    print(f"{report['cores']} cores, load {report['load']:.2f}, {ROUNDS} "
          f"rounds of {SECONDS} s")
    pictures = images(256)
    write_pictures(pictures)
    costs(report)
    scaling(report, pictures)
    joining(report)
    shutil.rmtree(FOLDER)
    with open("build/replicas.json", "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
