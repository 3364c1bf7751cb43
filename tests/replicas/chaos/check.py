"""Reads a whole history (history.py) and says what must not be in it.

    lost         an answered example or rollback is not in the stream as the
                 version that was answered, or is there twice
    order        versions are not one order: two requests were answered the
                 same version; one that was sent after another's answer has an
                 earlier version; a replica, or whoever sent Soma-Min-Version,
                 read an older version than before, or one that nobody had sent
                 yet; a version is missing
    divergence   two digests, or two answers to one input, at one version
    answer       an answer that no request may get, however bad things are; a
                 prediction refused for want of Redis is one, too
    log          a replica's log has what none may have (chaos.py adds it)
    empty        so little happened that nothing of the above means anything

python3 check.py HISTORY; exit code 1 if there is any.
"""
import collections
import sys

from history import load

KINDS = ("lost", "order", "divergence", "answer", "log", "empty")
# Why a replica may refuse to read.
READERS_WAIT = ("loading", "recovering", "version_not_here")
MOST = 5  # of a kind are printed


class Report:
    def __init__(self):
        self.found = {kind: [] for kind in KINDS}
        self.counts = collections.Counter()

    def say(self, kind, text):
        self.found[kind].append(text)

    def good(self):
        return not any(self.found.values())

    def line(self):
        return (f"{self.counts['rounds']} rounds, "
                f"{self.counts['requests']} requests, "
                f"{self.counts['examples']} examples answered, "
                f"lost {len(self.found['lost'])}, "
                f"order violations {len(self.found['order'])}, "
                f"divergences {len(self.found['divergence'])}")

    def text(self):
        lines = []
        for kind, found in self.found.items():
            lines += [f"{kind}: {text}" for text in found[:MOST]]
            if len(found) > MOST:
                lines.append(f"{kind}: {len(found) - MOST} more")
        return "\n".join(lines + [self.line()])


def of(events, *ops):
    return [event for event in events if event["op"] in ops]


def answered(events, *ops):
    return [event for event in of(events, *ops) if event["status"] == 200]


# ---- Lost ----

def check_stream(events, report):
    """That records are 1, 2, 3, ... and hold each example at most once."""
    places = {}
    for number, record in enumerate(of(events, "record"), 1):
        if record["version"] != number:
            report.say("order", f"record {number} of the stream is version "
                                f"{record['version']}")
        if record["kind"] != "example":
            continue
        name = record["id"], record["part"]
        if name in places:
            report.say("lost", f"example {name} is there twice: as versions "
                               f"{places[name]} and {record['version']}")
        places[name] = record["version"]
    return places


def check_examples(events, places, report):
    """That what was answered is there, as what it was answered to be."""
    seen, asked = {}, {}
    for event in of(events, "train"):
        asked[event["id"]] = event["count"]
        if event["status"] != 200:
            continue
        first = event["version"] - event["count"] + 1
        for part in range(event["count"]):
            place = places.get((event["id"], part))
            if place != first + part:
                report.say("lost", f"example {event['id']} part {part} was "
                                   f"answered as version {first + part} by "
                                   f"replica {event['replica']}, the stream "
                                   f"has it as {place}")
        said = event["version"], event["lesson"]
        if seen.setdefault(event["id"], said) != said:
            report.say("order", f"{event['id']} was answered {said} and "
                                f"{seen[event['id']]}")
    report.counts["examples"] = sum(asked[name] for name in seen)
    for name, part in places:
        if name not in asked:
            report.say("lost", f"nobody has taught {name}")
        elif (name, asked[name] - 1) not in places:
            report.say("lost", f"only a part of {name} is there")


def check_rollbacks(events, report):
    records = {record["version"]: record for record in of(events, "record")
               if record["kind"] == "rollback"}
    owed = collections.Counter(event["target"]
                               for event in of(events, "rollback"))
    owed.subtract(record["target"] for record in records.values())
    for target in (target for target, left in owed.items() if left < 0):
        report.say("lost", f"more rollbacks to {target} are there than were "
                           "asked for")
    for event in answered(events, "rollback"):
        record = records.get(event["version"])
        if not record or record["target"] != event["target"]:
            report.say("lost", f"the rollback to {event['target']} was "
                               f"answered as version {event['version']}, the "
                               f"stream has {record} there")


# ---- Order ----

def changes(events, places):
    """All that became a version: {version: (first sent, first answered, who)}
    for its last record, the times of those before it the same."""
    found = {}

    def add(versions, event):
        for version in versions:
            sent, back, who = found.get(version, (float("inf"),) * 2 + (None,))
            found[version] = (min(sent, event["t0"]),
                              min(back, event["t1"]
                                  if event["status"] == 200 else back),
                              who or event.get("id") or "a rollback")

    for event in of(events, "train"):
        add((places[event["id"], part] for part in range(event["count"])
             if (event["id"], part) in places), event)
    for event in answered(events, "rollback"):
        add((event["version"],), event)
    return found


def check_once(events, report):
    """That no version was answered to two requests."""
    owners = {}
    for event in answered(events, "train", "rollback"):
        name = event.get("id") or f"rollback {event['client']} {event['t0']}"
        for version in range(event["version"] - event.get("count", 1) + 1,
                             event["version"] + 1):
            if owners.setdefault(version, name) != name:
                report.say("order", f"version {version} was answered to "
                                    f"{owners[version]} and to {name}")


def check_times(found, report):
    """What was sent after another's answer has a later version. Returns when
    the last of all versions up to this one was sent, for each."""
    latest, who, sent_by = float("-inf"), None, [float("-inf")]
    last = max(found, default=0)
    for version in range(1, last + 1):
        # One whose sender is not known (a rollback without an answer) is
        # held to nothing.
        sent, back, name = found.get(version, (float("-inf"), float("inf"),
                                               None))
        if back < latest:
            report.say("order", f"{name} was answered as version {version} "
                                f"before {who} was sent, which is an earlier "
                                "version")
        if sent > latest:
            latest, who = sent, name
        sent_by.append(latest)
    return sent_by


def check_reads(events, sent_by, last, report):
    reads = answered(events, "predict", "state")
    for event in reads:
        version = event["version"]
        if version > last:
            report.say("order", f"replica {event['replica']} has read version "
                                f"{version}, the last one is {last}")
        elif version < len(sent_by) and sent_by[version] > event["t1"]:
            report.say("order", f"replica {event['replica']} has read version "
                                f"{version} before it was sent")
        if event.get("least") and version < event["least"]:
            report.say("order", f"client {event['client']} asked for version "
                                f"{event['least']} and was answered by "
                                f"{version} of replica {event['replica']}")


def check_growth(events, group, bounded, report):
    """Within each group, nobody reads an older version than one that was
    answered before the request was sent. What repeats an earlier answer says
    that one's version: `bounded` says which events are held to it."""
    last, floor = {}, {}
    moments = []
    for event in answered(events, "train", "rollback", "predict", "state"):
        if group(event) is None:
            continue
        moments.append((event["t1"], 1, event))
        if bounded(event):
            moments.append((event["t0"], 0, event))
    for _, ended, event in sorted(moments, key=lambda m: m[:2]):
        name, version = group(event), event["version"]
        if ended:
            last[name] = max(last.get(name, 0), version)
            if version < floor.pop(id(event), 0):
                report.say("order", f"{name} was at a later version than "
                                    f"{version} before ({event['op']} by "
                                    f"replica {event['replica']})")
        else:
            floor[id(event)] = last.get(name, 0)


# ---- The rest ----

def check_equal(events, report):
    known = {}
    for event in answered(events, "predict", "state") + of(events, "settled"):
        what = event.get("probe", "digest")
        said = event["answer"] if "answer" in event else event["digest"]
        other = known.setdefault((event["version"], what),
                                 (said, event["replica"]))
        if other[0] != said:
            report.say("divergence",
                       f"version {event['version']}, {what}: replica "
                       f"{other[1]} says {other[0]}, {event['replica']} says "
                       f"{said}")
        elif other[1] != event["replica"]:
            report.counts["compared"] += 1


def check_answers(events, report):
    for event in of(events, "train", "rollback", "predict", "state"):
        status = event["status"]
        reads = event["op"] in ("predict", "state")
        if status not in (0, 200, 503) or status == 503 and (
                not event["retry"] or
                reads and event["code"] not in READERS_WAIT):
            report.say("answer", f"{event['op']} by replica "
                                 f"{event['replica']}: {status} "
                                 f"{event.get('code')}")


def check_end(events, last, report):
    settled = of(events, "settled")
    for event in settled:
        if event["version"] != last:
            report.say("order", f"replica {event['replica']} has settled at "
                                f"version {event['version']}, the last one is "
                                f"{last}")
    if len(settled) < 2:
        report.say("empty", "less than two replicas have settled")
    for what in ("rounds", "examples", "compared"):
        if not report.counts[what]:
            report.say("empty", f"no {what}")


def check(events):
    report = Report()
    report.counts["rounds"] = len(of(events, "round"))
    report.counts["requests"] = len(of(events, "train", "rollback", "predict",
                                       "state"))
    places = check_stream(events, report)
    last = len(of(events, "record"))
    check_examples(events, places, report)
    check_rollbacks(events, report)
    check_once(events, report)
    check_reads(events, check_times(changes(events, places), report), last,
                report)
    check_growth(events, lambda e: f"replica {e['replica']}",
                 lambda e: e["op"] != "train", report)
    check_growth(events, lambda e: None if e.get("client") is None else
                 f"client {e['client']}",
                 lambda e: e.get("least") is not None, report)
    check_equal(events, report)
    check_answers(events, report)
    check_end(events, last, report)
    return report


if __name__ == "__main__":
    result = check(load(sys.argv[1]))
    print(result.text())
    sys.exit(not result.good())
