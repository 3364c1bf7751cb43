"""A checker that cannot fail is worth nothing: this one (check.py) must find
nothing in a good history, and something in each of many doctored ones.

    python3 doctor.py [HISTORY]

HISTORY is one that was found good; without it a made-up one is taken. Ends with
"N passed, N failed".
"""
import copy
import random
import sys

from check import answered, check, of
from history import load

# ---- A good history ----


class Maker:
    """Replicas that fail nobody, with requests one after the other."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.events, self.records = [], []
        self.at = [0, 0, 0]  # what each replica has learned
        self.time = 0.0
        self.number = 0

    def note(self, op, replica, **event):
        self.events.append({"op": op, "client": 0, "replica": replica,
                            "t0": self.time, "t1": self.time + 0.5, **event})
        self.time += 1

    def refuse(self, op, replica, **event):
        self.note(op, replica, status=503, code="storage_failed", retry="1",
                  **event)

    def train(self, replica):
        self.number += 1
        name = f"0-{self.number}"
        known = {"id": name, "key": name, "count": self.random.choice((1, 3))}
        if self.random.random() < 0.1:
            self.refuse("train", replica, **known)
        first = len(self.records) + 1
        self.records += [
            {"op": "record", "version": first + part, "kind": "example",
             "target": 0, "id": name, "part": part}
            for part in range(known["count"])]
        self.at[replica] = len(self.records)
        if self.random.random() < 0.1:  # its answer is lost, for ever or not
            self.note("train", replica, status=0, **known)
        for _ in range(self.random.choice((0, 1, 1, 1, 2))):
            self.note("train", replica, status=200, lesson=f"of {name}",
                      version=first + known["count"] - 1, **known)
        if self.events[-1].get("id") != name:
            self.note("train", replica, status=0, **known)

    def rollback(self, replica):
        target = self.random.randint(0, len(self.records))
        if self.random.random() < 0.2:
            self.refuse("rollback", replica, target=target)
            return
        version = len(self.records) + 1
        self.records.append({"op": "record", "version": version, "id": None,
                             "kind": "rollback", "target": target,
                             "part": None})
        self.at[replica] = version
        self.note("rollback", replica, status=200, target=target,
                  version=version)

    def read(self, replica):
        self.at[replica] = self.random.randint(self.at[replica],
                                               len(self.records))
        version, probe = self.at[replica], self.random.randrange(2)
        if self.random.random() < 0.5:
            self.note("state", replica, status=200, version=version,
                      digest=f"of {version}")
            del self.events[-1]["client"]
            return
        least = None
        if self.random.random() < 0.5:
            self.at[replica] = version = least = len(self.records)
        self.note("predict", replica, status=200, version=version, probe=probe,
                  least=least, answer=f"of {version} to {probe}")

    def make(self, turns):
        for _ in range(turns):
            kind = self.random.choices((self.train, self.read, self.rollback),
                                       (6, 6, 1))[0]
            kind(self.random.randrange(3))
            if self.random.random() < 0.1:
                self.events.append({"op": "round", "faults": ["something"]})
        last = len(self.records)
        return self.events + self.records + [
            {"op": "settled", "replica": replica, "version": last,
             "digest": f"of {last}"} for replica in range(3)]


# ---- What may be wrong with one ----

class Missing(Exception):
    """A short history need not have events of every kind."""


def some(events, op, **wanted):
    """The middle one of those that were answered, so that there is something
    before and after it."""
    found = [event for event in answered(events, op)
             if all(event.get(name) == value
                    for name, value in wanted.items())]
    if not found:
        raise Missing(f"no {op} was answered, {wanted}")
    return found[len(found) // 2]


def record_at(events, version):
    return of(events, "record")[version - 1]


def end_of(events):
    return max(event["t1"] for event in events if "t1" in event) + 1


def cut_end(events):
    """The stream has lost what was answered last."""
    last = max(event["version"] for event in answered(events, "train"))
    events[:] = [event for event in events if event["op"] != "record" or
                 event["version"] < last]


def teach_twice(events):
    """An example is there once more, at the end."""
    one, records = some(events, "train"), of(events, "record")
    events.append({**record_at(events, one["version"]),
                   "version": len(records) + 1})


def swap_records(events):
    first = some(events, "train", count=1)
    second = next(event for event in answered(events, "train")
                  if event["id"] != first["id"] and event["count"] == 1)
    one = record_at(events, first["version"])
    other = record_at(events, second["version"])
    one["id"], other["id"] = other["id"], one["id"]


def lose_a_part(events):
    """A request of several examples is there in part, and not answered."""
    one = next((event for event in answered(events, "train")
                if event["count"] > 1), None)
    if not one:
        raise Missing("no train of several was answered")
    record_at(events, one["version"])["kind"] = "settings"
    for event in of(events, "train"):
        if event["id"] == one["id"]:
            event["status"] = 0


def make_one_up(events):
    record_at(events, some(events, "train", count=1)["version"])["id"] = "x-1"


def move_rollback(events):
    one = some(events, "rollback")
    record_at(events, one["version"])["target"] += 1


def add_rollback(events):
    records = of(events, "record")
    events.append({"op": "record", "version": len(records) + 1, "id": None,
                   "kind": "rollback", "target": 10 ** 9, "part": None})


def answer_one_version_twice(events):
    one = some(events, "rollback")
    events.append({**one, "t0": end_of(events), "t1": end_of(events)})


def answer_a_key_otherwise(events):
    one = some(events, "train")
    events.append({**one, "lesson": "another one"})


def send_late(events):
    """An early version was asked for only after all others were answered."""
    one, end = some(events, "train"), end_of(events)
    for event in of(events, "train"):
        if event["id"] == one["id"]:
            event["t0"], event["t1"] = end, end + 1


def skip_a_version(events):
    last = len(of(events, "record"))
    for record in of(events, "record")[last // 2:]:
        record["version"] += 1


def read_back_in_time(events):
    """A replica that has said a version says an earlier one."""
    one, end = some(events, "state"), end_of(events)
    events += [{**one, "replica": 99, "t0": end, "t1": end + 1},
               {**one, "replica": 99, "t0": end + 2, "t1": end + 3,
                "version": one["version"] - 1, "probe": "of its own"}]


def read_too_early(events):
    """By a replica of its own, so that nothing but the time is wrong."""
    one = some(events, "predict", least=None)
    one.update(replica=99, t0=-2.0, t1=-1.0)


def read_past_the_end(events):
    some(events, "state")["version"] = len(of(events, "record")) + 1


def ignore_least(events):
    one = some(events, "predict")
    one["least"] = one["version"] + 1


def go_back_elsewhere(events):
    """A client that does not want to goes back, by another replica."""
    one = [event for event in answered(events, "predict")
           if event["least"] is not None][-1]
    one.update(replica=99, version=1, least=1, probe="of its own",
               t0=end_of(events), t1=end_of(events) + 1)


def settle_behind(events):
    of(events, "settled")[0]["version"] -= 1


def differ_in_digest(events):
    of(events, "settled")[1]["digest"] = "another"


def differ_in_state(events):
    one = some(events, "state")
    events.append({**one, "replica": 98, "digest": "another"})


def differ_in_answer(events):
    one = some(events, "predict")
    events.append({**one, "replica": 98, "answer": "another"})


def fail_inside(events):
    some(events, "predict")["status"] = 500


def refuse_without_when(events):
    some(events, "train").update(status=503, code="busy", retry=None)


def refuse_to_predict(events):
    some(events, "predict").update(status=503, code="storage_failed",
                                   retry="1")


def be_silent(events):
    events[:] = [event for event in events
                 if event["op"] in ("round", "record", "settled")]


def settle_alone(events):
    for event in of(events, "settled")[1:]:
        events.remove(event)


def compare_nothing(events):
    events[:] = [event for event in events if event["op"] not in
                 ("state", "predict")]
    for number, event in enumerate(of(events, "settled")):
        event["replica"] = 0


# Each with its kind and some words of what must be said of it.
DOCTORS = (
    (cut_end, "lost", "the stream has it as None"),
    (teach_twice, "lost", "is there twice"),
    (swap_records, "lost", "was answered as version"),
    (lose_a_part, "lost", "only a part of"),
    (make_one_up, "lost", "nobody has taught"),
    (move_rollback, "lost", "the rollback to"),
    (add_rollback, "lost", "more rollbacks to"),
    (answer_one_version_twice, "order", "was answered to"),
    (answer_a_key_otherwise, "order", "another one"),
    (send_late, "order", "which is an earlier version"),
    (skip_a_version, "order", "of the stream is version"),
    (read_back_in_time, "order", "replica 99 was at a later version"),
    (read_too_early, "order", "before it was sent"),
    (read_past_the_end, "order", "the last one is"),
    (ignore_least, "order", "asked for version"),
    (go_back_elsewhere, "order", "was at a later version than 1 before"),
    (settle_behind, "order", "has settled at"),
    (differ_in_digest, "divergence", "digest"),
    (differ_in_state, "divergence", "digest"),
    (differ_in_answer, "divergence", "says another"),
    (fail_inside, "answer", "500"),
    (refuse_without_when, "answer", "503"),
    (refuse_to_predict, "answer", "storage_failed"),
    (be_silent, "empty", "no examples"),
    (settle_alone, "empty", "less than two"),
    (compare_nothing, "empty", "no compared"),
)


def finds(good, doctor, kind, words):
    events = copy.deepcopy(good)
    doctor(events)
    return any(words in text for text in check(events).found[kind])


def main():
    good = load(sys.argv[1]) if len(sys.argv) > 1 else Maker(1).make(300)
    report = check(good)
    results = [report.good()]
    if not report.good():
        print(f"FAILED: a good history\n{report.text()}")
    for doctor, kind, words in DOCTORS:
        try:
            results.append(finds(good, doctor, kind, words))
        except Missing as missing:
            if len(sys.argv) < 2:
                raise
            print(f"NOT TESTED with this history: {doctor.__name__}: {missing}")
            continue
        print(f"{'ok' if results[-1] else 'FAILED'}: {doctor.__name__}: {kind}")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
