"""Those who use a server for hours: each is a thread that takes turns until it
is told to stop, and complains of what should not be."""
import http.client
import json
import random
import socket
import struct
import threading
import time

MODEL, SIZE = "mnist", 784
WAIT = 20  # seconds for an answer
BYTES = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def pattern(label):
    return bytes(random.Random(label).choices((0, 0, 0, 128, 255), k=SIZE))


PATTERNS = [pattern(label) for label in range(10)]


def image(number):
    """One of its own for each number."""
    return number.to_bytes(4, "big") + PATTERNS[number % 10][4:]


class User(threading.Thread):
    pause = 0.02

    def __init__(self, number, seed, server, complaints):
        super().__init__(daemon=True)
        self.server, self.complaints = server, complaints
        self.random = random.Random(f"{seed} {number}")
        self.told = threading.Event()
        self.counts, self.connection, self.address = {}, None, None

    def run(self):
        while not self.told.wait(self.random.uniform(0, 2 * self.pause)):
            try:
                self.turn()
            except Exception as error:  # a user that died would be missed
                self.complain(f"{type(error).__name__}: {error}")
        self.hang_up()

    def complain(self, text):
        self.complaints.append(f"{type(self).__name__}: {text}")

    def hang_up(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self, method, path, body=None, headers=None, expected=(200, 503)):
        """Status and text; 0: the server was not there, which is its right
        while it is killed."""
        if self.address != self.server.address:
            self.hang_up()
        try:
            if not self.connection:
                self.address = self.server.address
                self.connection = http.client.HTTPConnection(self.address,
                                                             timeout=WAIT)
            self.connection.request(method, path, body, headers or {})
            answer = self.connection.getresponse()
            status, text = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.hang_up()
            status, text = 0, str(error).encode()
            if isinstance(error, TimeoutError):
                self.complain(f"{path}: no answer within {WAIT} s")
        self.counts[status] = self.counts.get(status, 0) + 1
        if status and status not in expected:
            self.complain(f"{method} {path}: {status} {text[:200]}")
        return status, text

    def turn(self):
        raise NotImplementedError


class Predictor(User):
    """As JSON, as bytes, by another protocol, and many at once."""
    pause = 0.005

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.times = []

    def turn(self):
        number = self.random.randrange(10 ** 6)
        draw = self.random.random()
        start = time.monotonic()
        if draw < 0.4:
            self.predict(image(number), BYTES)
        elif draw < 0.8:
            self.predict(json.dumps({"pixels": list(image(number))}), JSON)
        elif draw < 0.9:
            self.infer(number)
        else:
            rows = [list(image(number + i)) for i in range(16)]
            self.predict(json.dumps({"pixels": rows}), JSON)
        self.times.append((start, time.monotonic() - start))

    def predict(self, body, headers):
        status, text = self.ask("POST", f"/models/{MODEL}/predict", body,
                                headers)
        if status != 200:
            return
        answer = json.loads(text)
        for one in answer.get("predictions", [answer]):
            total = sum(one["probabilities"])
            if abs(total - 1) > 1e-4 or one["class"] not in map(str, range(10)):
                self.complain(f"predicted {one}")

    def infer(self, number):
        data = [value / 255 for value in image(number)]
        body = {"inputs": [{"name": "input", "shape": [1, SIZE],
                            "datatype": "FP32", "data": data}]}
        self.ask("POST", f"/v2/models/{MODEL}/infer", json.dumps(body), JSON)


class Teacher(User):
    """Every example has a key and is sent until it is answered; what was
    answered is kept in `lessons`: its number and its version."""
    seen = number = 0

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.lessons = []

    def turn(self):
        self.number += 1
        status = 0
        while status != 200 and not self.told.is_set():
            status, version = self.teach(self.number)
            if status != 200:
                time.sleep(0.05)
        if status != 200:
            return
        if version <= self.seen:
            self.complain(f"version {version} after {self.seen}")
        self.seen = version
        self.lessons.append((self.number, version))
        if self.random.random() < 0.1:
            self.read_back(version)

    def teach(self, number):
        status, text = self.ask(
            "POST", f"/models/{MODEL}/train?label={number % 10}",
            image(number), {**BYTES, "Idempotency-Key": f"soak-{number}"})
        return status, json.loads(text)["version"] if status == 200 else 0

    def read_back(self, version):
        status, text = self.ask("POST", f"/models/{MODEL}/predict",
                                image(self.number), BYTES)
        if status == 200 and json.loads(text)["version"] < version:
            self.complain(f"predicted before version {version}")


class Undoer(User):
    """Goes back a few versions now and then."""
    pause = 2

    def turn(self):
        status, text = self.ask("GET", f"/models/{MODEL}")
        if status != 200:
            return
        version = json.loads(text)["version"]
        back = max(0, version - self.random.randint(1, 20))
        self.ask("POST", f"/models/{MODEL}/rollback",
                 json.dumps({"version": back}), JSON)


class Forker(User):
    """Forks a model, teaches the fork, and promotes it or takes it away."""
    pause = 0.3
    taught = 10 ** 6

    def turn(self):
        status, _ = self.ask("POST", "/models/fashion/fork", '{"as": "twin"}',
                             JSON, (200, 409, 503))
        if status not in (200, 409):
            return
        for _ in range(5):
            self.taught += 1
            self.ask("POST", f"/models/twin/train?label={self.taught % 10}",
                     image(self.taught), BYTES)
        if self.random.random() < 0.3:
            self.ask("POST", "/models/fashion/promote",
                     '{"from": "twin", "force": true}', JSON)
        self.ask("DELETE", "/models/twin", None, None, (200, 404, 503))


class Operator(User):
    """Loads and unloads a model and asks for what operators look at."""
    pause = 0.3

    def turn(self):
        self.ask("POST", "/v2/repository/models/cifar10-linear/unload", "{}",
                 JSON)
        self.ask("POST", "/v2/repository/models/cifar10-linear/load", "{}",
                 JSON)
        for path in ("/metrics", "/models", "/v2/models/stats", "/",
                     "/openapi.json", f"/models/{MODEL}/guard",
                     f"/models/{MODEL}/examples?limit=5"):
            self.ask("GET", path)


class Listener(User):
    """Follows /events for a while."""
    pause = 0.2

    def turn(self):
        connection = http.client.HTTPConnection(self.server.address, timeout=5)
        try:
            connection.request("GET", "/events")
            answer = connection.getresponse()
            for _ in range(self.random.randint(1, 40)):
                if not answer.readline():
                    break
        except (OSError, http.client.HTTPException):
            pass  # killed, or paused for longer than that
        finally:
            connection.close()


class Vandal(User):
    """What is no request, or the half of one."""
    pause = 0.05
    HEAD = (b"POST /models/mnist/train?label=1 HTTP/1.1\r\nHost: a\r\n"
            b"Content-Type: application/octet-stream\r\n")

    def turn(self):
        kind = self.random.randrange(5)
        sent = [self.random.randbytes(200),
                self.HEAD + b"Content-Length: 784\r\n\r\n" + bytes(300),
                self.HEAD + b"Content-Length: 784\r\nContent-Length: 3\r\n\r\n",
                b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
                b"\r\n{\"pixels\"",
                b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000][kind]
        host, port = self.server.address.split(":")
        try:
            with socket.create_connection((host, int(port)), 5) as one:
                one.sendall(sent)
                if self.random.random() < 0.5:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    return
                one.settimeout(0.2)
                text = one.recv(4096)
        except OSError:
            return
        if text.startswith(b"HTTP/1.1 2") or b" 500 " in text[:16]:
            self.complain(f"{sent[:60]}: {text[:60]}")


KINDS = (Predictor, Predictor, Predictor, Teacher, Undoer, Forker, Operator,
         Listener, Vandal)
