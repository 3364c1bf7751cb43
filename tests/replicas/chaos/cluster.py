"""Redis, replicas of soma, and a link (link.py) from each of them to Redis: all
of them programs on 127.0.0.1, with their files and logs in one folder."""
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
PROGRAM = os.path.join(ROOT, os.environ.get("BUILD", "build/gcc"), "soma")
MODEL = "mnist"
KEEP = 2000  # examples, where the stream is trimmed
# No guard: what is taught here is not worth to be judged. Checkpoints come
# often, so that joining from one is what is tried, and trimming of them.
OPTIONS = ["--guard-drop", "100", "--workers", "1", "--checkpoint-examples",
           "300", "--keep-checkpoints", "3"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A process that can be killed, paused and started again."""

    def __init__(self, command, log):
        self.command, self.log = command, log
        self.process = None
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log,
                                            stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class Redis(Program):
    def __init__(self, folder):
        self.port = free_port()
        os.mkdir(f"{folder}/redis")
        super().__init__(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port),
             "--dir", f"{folder}/redis", "--save", "", "--appendonly", "yes",
             "--appendfsync", "always"], f"{folder}/redis.log")

    def ask(self, *words):
        """One command, over a connection of its own."""
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        with socket.create_connection(("127.0.0.1", self.port), 60) as talk:
            talk.sendall(b"*%d\r\n" % len(words) + b"".join(
                b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            with talk.makefile("rb") as lines:
                return reply(lines)


def reply(lines):
    line = lines.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and rest != b"-1":
        text = lines.read(int(rest) + 2)
        if len(text) < int(rest) + 2:
            raise OSError("Redis has gone")
        return text[:-2]
    if kind == b"$":
        return None
    if kind == b"*":
        return [reply(lines) for _ in range(int(rest))]
    if kind == b"-" or not kind:
        raise OSError(f"Redis says {line}")
    return rest


class Link:
    def __init__(self, redis):
        self.process = subprocess.Popen(
            [sys.executable, f"{HERE}/link.py", str(redis.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def become(self, state):
        self.process.stdin.write(state + "\n")
        self.process.stdin.flush()

    def kill(self):
        self.process.kill()
        self.process.wait()


class Replica(Program):
    def __init__(self, folder, number, journal_port, trims):
        self.number, self.port = number, free_port()
        super().__init__(
            [PROGRAM, "serve", "--listen", f"127.0.0.1:{self.port}",
             "--models", f"{ROOT}/models/{MODEL}.safetensors", "--journal",
             f"redis://127.0.0.1:{journal_port}", *OPTIONS, "--keep-examples",
             str(KEEP if trims else 0)],
            f"{folder}/replica-{number}.log")

    def end(self):
        """As an orchestrator does: SIGTERM, and SIGKILL when it takes long."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask(self, method, path, body=None, headers=None, wait=3.0):
        """Status, headers, JSON; None: no answer came."""
        talk = http.client.HTTPConnection("127.0.0.1", self.port, timeout=wait)
        try:
            talk.request(method, path, body, headers or {})
            answer = talk.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            talk.close()

    def is_ready(self):
        got = self.ask("GET", "/readyz")
        return bool(got) and got[0] == 200

    def said(self, pattern):
        with open(self.log) as log:
            return [line.strip() for line in log if re.search(pattern, line)]


class Cluster:
    def __init__(self, folder, count, trims):
        self.folder, self.trims, self.programs = folder, trims, []
        self.redis = self.keep(Redis(folder))
        wait_until(lambda: self.redis.ask("PING") == b"PONG", 30, "Redis")
        self.links = [self.keep(Link(self.redis)) for _ in range(count)]
        self.replicas = [self.keep(Replica(folder, i, link.port, trims))
                         for i, link in enumerate(self.links)]

    def keep(self, program):
        self.programs.append(program)
        return program

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.programs:
            program.kill()

    def one_more(self):
        """A replica that joins, by a way to Redis that nobody disturbs."""
        more = self.keep(Replica(self.folder, len(self.replicas),
                                 self.redis.port, self.trims))
        self.replicas.append(more)
        return more

    def key(self, name):
        return f"soma:{{{MODEL}}}:{name}"

    def records(self, after):
        """What is in the stream after that version: version, kind, target and
        values of each, in order."""
        start = f"({after}-0"
        while page := self.redis.ask("XRANGE", self.key("examples"), start,
                                     "+", "COUNT", 2000):
            for name, fields in page:
                data = fields[fields.index(b"r") + 1]
                target, size = struct.unpack_from("<QI", data, 20)
                yield int(name.split(b"-")[0]), data[0], target, \
                    data[36:36 + size]
            start = b"(" + page[-1][0]


def wait_until(true, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if true():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"chaos: {what}: not within {seconds} s")
