"""Replicas, Redis and the ways between them are killed, paused, cut off and
slowed at random, under load; then the whole history is checked (check.py).

    python3 chaos.py SECONDS [SEED]

Writes history.jsonl and all logs to build/chaos/. The seed decides what is
done to whom, and what clients ask; the rest is the machine's. In the end
everything is there again, and all replicas must come to one version by
themselves; one more joins and learns the whole stream from the model file. With
half of the seeds the stream is trimmed, and it joins from a checkpoint.
"""
import os
import random
import shutil
import signal
import sys
import threading
import time

import check
import load
from cluster import ROOT, Cluster, wait_until
from history import History

REPLICAS, TEACHERS, READERS = 3, 4, 2
NEVER = "replica-differs|journal-went-back|Sanitizer|runtime error"
KINDS = {1: "example", 2: "rollback"}


def faults_of(cluster):
    """What can be done to each: {target: [(name, begin, end), ...]}"""
    found = {"redis": program_faults(cluster.redis)}
    for i, replica in enumerate(cluster.replicas):
        found[f"replica {i}"] = program_faults(replica) + [
            ("ended", replica.end, replica.start)]
    for i, link in enumerate(cluster.links):
        found[f"link {i}"] = [
            (state, lambda link=link, state=state: link.become(state),
             lambda link=link: link.become("open"))
            for state in ("cut", "hold", "deaf", "slow")]
    return found


def program_faults(program):
    return [("killed", program.kill, program.start),
            ("paused", program.pause, program.go_on)]


def play_round(faults, dice, longest):
    """Some of it at once, and an end of it; what was done."""
    targets = dice.sample(sorted(faults), dice.choice((1, 1, 1, 2, 2, 3)))
    chosen = [(target, *dice.choice(faults[target])) for target in targets]
    for _, _, begin, _ in chosen:
        begin()
        time.sleep(dice.uniform(0, 0.2))
    # Half of the time a wink, else long enough for what waits to give up.
    time.sleep(dice.uniform(0, 0.5) if dice.random() < 0.5
               else dice.uniform(0.5, longest))
    dice.shuffle(chosen)
    for _, _, _, end in chosen:
        end()
        time.sleep(dice.uniform(0, 0.2))
    time.sleep(dice.uniform(0.1, 0.8))
    return [f"{target} {name}" for target, name, _, _ in chosen]


def break_things(cluster, history, seed, seconds):
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    faults = faults_of(cluster)
    # A pause of a minute, where there is the time for it.
    if seconds >= 300:
        cluster.replicas[0].pause()
        time.sleep(60)
        cluster.replicas[0].go_on()
        history.add("round", faults=["replica 0 paused for a minute"])
    while time.monotonic() < end:
        longest = min(5.0, max(0.5, seconds / 8))
        history.add("round", faults=play_round(faults, dice, longest))


def settle(cluster, history, seed):
    """Each replica must be ready and learn again; then all say one version."""
    for replica in cluster.replicas:
        wait_until(replica.is_ready, 120, f"replica {replica.number} ready")
        last = load.Teacher(200 + replica.number, seed, [replica], history)
        wait_until(lambda last=last: last.teach(1, 1, True)["status"] == 200,
                   120, f"replica {replica.number} learns")
    if not cluster.trims:  # one more has but the model file and the stream
        cluster.redis.ask("DEL", cluster.key("checkpoints"),
                          cluster.key("states"))
    one = cluster.one_more()
    wait_until(one.is_ready, 900, "a replica learns the whole stream")
    last = int(cluster.redis.ask("HGET", cluster.key("head"), "last"))
    for replica in cluster.replicas:
        wait_until(lambda replica=replica: state_of(replica)["version"] == last,
                   120, f"replica {replica.number} at version {last}")
        state = state_of(replica)
        history.add("settled", replica=replica.number,
                    version=state["version"], digest=state["digest"])


def state_of(replica):
    got = replica.ask("GET", f"/models/{load.MODEL}")
    return got[2] if got and got[0] == 200 else {"version": -1}


class Scribe(threading.Thread):
    """Notes what comes into the stream, before it is trimmed."""

    def __init__(self, cluster, history):
        super().__init__(daemon=True)
        self.cluster, self.history = cluster, history
        self.last = 0
        self.told = threading.Event()

    def run(self):
        while not self.told.wait(0.05):
            try:
                self.copy()
            except OSError:
                pass  # Redis is away

    def copy(self):
        for version, kind, target, values in self.cluster.records(self.last):
            name, part = load.identify(values) if kind == 1 else (None, None)
            self.history.add("record", version=version,
                             kind=KINDS.get(kind, kind), target=target,
                             id=name, part=part)
            self.last = version

    def end(self):
        self.told.set()
        self.join()
        self.copy()


def run(folder, seconds, seed):
    history = History()
    trims = random.Random(f"trims {seed}").random() < 0.5
    with Cluster(folder, REPLICAS, trims) as cluster:
        for replica in cluster.replicas:
            wait_until(replica.is_ready, 60, "the cluster")
        scribe = Scribe(cluster, history)
        scribe.start()
        clients = load.begin(seed, cluster.replicas[:], history, TEACHERS,
                             READERS)
        break_things(cluster, history, seed, seconds)
        load.end(clients)
        settle(cluster, history, seed)
        scribe.end()
    out = [line for replica in cluster.replicas
           for line in replica.said(NEVER)]
    history.save(f"{folder}/history.jsonl")
    report = check.check(history.events)
    for line in out:
        report.say("log", line)
    return report


def main():
    seconds = float(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(10 ** 6))
    folder = f"{ROOT}/build/chaos"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"chaos: {seconds:.0f} s, seed {seed}", flush=True)
    report = run(folder, seconds, seed)
    print(report.text())
    if not report.good():
        print(f"seed {seed}; the history and logs are in {folder}")
    sys.exit(not report.good())


if __name__ == "__main__":
    main()
