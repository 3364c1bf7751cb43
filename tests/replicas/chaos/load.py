"""Those who teach, predict and watch while things break. Each notes all that
it asks and is answered in the history."""
import hashlib
import json
import random
import threading
import time

from cluster import MODEL

SIZE, PARTS, MARK = 784, 4, 0xC5
WAIT = 1.5  # seconds for an answer
BYTES = "application/octet-stream"


def pattern(label):
    return bytes(random.Random(label).choices((0, 0, 0, 128, 255), k=SIZE))


PATTERNS = [pattern(label) for label in range(10)]
PROBES = [pattern(100 + probe) for probe in range(4)]


def image(client, number, part):
    """That example's values: they say which one it is."""
    return bytes((MARK, client, *number.to_bytes(4, "big"), part, 0)) + \
        PATTERNS[number % 10][8:]


def identify(values):
    """Its id and place in the request."""
    if len(values) != SIZE or values[0] != MARK:
        return "a stranger", 0
    number = int.from_bytes(values[2:6], "big")
    return f"{values[1]}-{number}", values[6]


class Client(threading.Thread):
    """Turns until told to stop; a subclass says what a turn is."""

    def __init__(self, number, seed, replicas, history):
        super().__init__(daemon=True)
        self.number, self.replicas, self.history = number, replicas, history
        self.random = random.Random(f"{seed} {number}")
        self.told = threading.Event()

    def run(self):
        while not self.told.is_set():
            self.turn()

    def ask(self, op, method, path, body=None, headers=None, wait=WAIT,
            replica=None, **known):
        """Asks a replica, any unless one is given. Notes what is `known` of
        the request, and of an answer 200 what `said` finds in it. Returns the
        event and the answer's JSON."""
        replica = replica or self.random.choice(self.replicas)
        t0 = time.monotonic()
        got = replica.ask(method, f"/models/{MODEL}{path}", body, headers,
                          wait)
        event = {"client": self.number, "replica": replica.number, "t0": t0,
                 "t1": time.monotonic(), "status": got[0] if got else 0,
                 **known}
        if got and got[0] == 200:
            event.update(version=got[2]["version"], **said(op, got[2]))
        elif got:
            event.update(code=got[2].get("code"),
                         retry=got[1].get("Retry-After"))
        self.history.add(op, **event)
        return event

    def nap(self, most):
        time.sleep(self.random.uniform(0, most))


def said(op, answer):
    """What the history keeps of an answer 200."""
    if answer.get("learning", {}).get("state") == "recovering":
        # It describes the model, and says that this is not its version yet.
        return {"status": 503, "code": "recovering", "retry": "by itself"}
    short = hashlib.sha256(json.dumps(answer).encode()).hexdigest()[:16]
    return {"train": {"lesson": short}, "predict": {"answer": short},
            "state": {"digest": answer.get("digest")}}.get(op, {})


class Teacher(Client):
    """Most examples have a key, and are sent until they are answered."""
    taught = 0

    def turn(self):
        self.taught += 1
        draw = self.random.random()
        count = self.random.randint(2, PARTS) if draw < 0.2 else 1
        event = self.teach(self.taught, count, draw < 0.85)
        if event["status"] == 200 and draw > 0.5:
            self.read_back(event)
        self.nap(0.02)

    def teach(self, number, count, keyed):
        """Until it is answered, by one after the other; with no key once."""
        for attempt in range(40):
            # Now and then nobody waits for the answer.
            wait = 0.004 if keyed and self.random.random() < 0.05 else WAIT
            event = self.send(number, count, keyed, wait)
            if event["status"] == 200 and self.random.random() < 0.05 \
                    and keyed:
                self.send(number, count, keyed, WAIT)
            if event["status"] == 200 or not keyed:
                break
            self.nap(0.02 * 1.2 ** attempt)
        return event

    def send(self, number, count, keyed, wait, replica=None):
        images = [image(self.number, number, part) for part in range(count)]
        name, label = f"{self.number}-{number}", number % 10
        headers = {"Content-Type": BYTES}
        if keyed:
            headers["Idempotency-Key"] = name
        path, body = f"/train?label={label}", images[0]
        if count > 1:
            headers["Content-Type"] = "application/json"
            path, body = "/train", json.dumps(
                {"examples": [{"pixels": list(one), "label": label}
                              for one in images]})
        return self.ask("train", "POST", path, body, headers, wait, replica,
                        id=name, key=name if keyed else None, count=count)

    def read_back(self, event):
        predict(self, event["version"])


def predict(client, least):
    probe = client.random.randrange(len(PROBES))
    headers = {"Content-Type": BYTES}
    if least is not None:
        headers["Soma-Min-Version"] = str(least)
    return client.ask("predict", "POST", "/predict", PROBES[probe], headers,
                      probe=probe, least=least)


class Reader(Client):
    """Never wants to see an older version again, but for those who do not say
    so."""
    seen = 0

    def turn(self):
        event = predict(self, self.seen if self.random.random() < 0.6
                        else None)
        self.seen = max(self.seen, event.get("version", 0))
        self.nap(0.02)


class Watcher(Client):
    """Asks for digests, and goes back to an earlier version now and then."""
    seen = 0

    def turn(self):
        for replica in self.replicas[:]:
            event = self.ask("state", "GET", "", replica=replica)
            self.seen = max(self.seen, event.get("version", 0))
        if self.random.random() < 0.02:
            target = max(0, self.seen - self.random.randint(0, 40))
            self.ask("rollback", "POST", "/rollback",
                     json.dumps({"version": target}),
                     {"Content-Type": "application/json"}, target=target)
        self.nap(0.15)


def begin(seed, replicas, history, teachers, readers):
    """All of them; only teachers have numbers that are in examples."""
    kinds = [Teacher] * teachers + [Reader] * readers + [Watcher]
    clients = [kind(number, seed, replicas, history)
               for number, kind in enumerate(kinds)]
    for client in clients:
        client.start()
    return clients


def end(clients):
    for client in clients:
        client.told.set()
    for client in clients:
        client.join()
