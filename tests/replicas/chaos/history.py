"""What happened, as one list of events; a line of JSON each.

Times are seconds of one clock; t0 is before the request was sent, t1 after its
answer was read. A status of 0 means that no answer came.

    train     id, key (or null), count, replica, client, t0, t1, status, and of
              an answer 200: version (of the last of `count` examples), lesson
              (what else it said)
    rollback  target, replica, client, t0, t1, status, version
    predict   probe, least (Soma-Min-Version or null), replica, client, t0, t1,
              status, version, answer
    state     replica, t0, t1, status, version, digest
    record    version, kind, id (of an example), part (its place in the
              request), target (of a rollback): the stream in the end, in order
    settled   version, digest, replica: in the end, when nothing moves any more
    round     faults: what was done to whom

An answer of 503 also has code and retry (Retry-After).
"""
import json
import threading


class History:
    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def add(self, op, **event):
        with self.lock:
            self.events.append({"op": op, **event})

    def save(self, path):
        with open(path, "w") as file:
            for event in self.events:
                file.write(json.dumps(event) + "\n")


def load(path):
    with open(path) as file:
        return [json.loads(line) for line in file]
