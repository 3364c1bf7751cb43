"""The real program for the tests of this folder, and their counting.

Each test is a program that ends with "N passed, N failed".
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, os.environ.get("BUILD", "build/gcc"), "soma")
counts = {True: 0, False: 0}


def check(name, good, seen=""):
    counts[bool(good)] += 1
    print(f"{'ok' if good else 'FAILED'}: {name}" +
          (f": {seen}" if seen != "" and (not good or len(str(seen)) < 60)
           else ""), flush=True)
    return bool(good)


def end():
    print(f"{counts[True]} passed, {counts[False]} failed")
    sys.exit(counts[False] > 0 or counts[True] == 0)


class Server:
    """soma serve with the shipped models, a data folder and a free port."""

    def __init__(self, *arguments):
        self.folder = tempfile.TemporaryDirectory()
        self.log = os.path.join(self.folder.name, "log")
        self.data = os.path.join(self.folder.name, "data")
        self.command = [PROGRAM, "serve", "--listen", "127.0.0.1:0",
                        "--models", os.path.join(ROOT, "models"),
                        "--default-model", "mnist", "--data", self.data,
                        *arguments]
        self.start()

    def start(self):
        """Also again, after halt or kill: with what it has learned, at
        another port."""
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.command, stderr=log)
        found = None
        for _ in range(100):
            found = re.search(r"http://(127\.0\.0\.1:\d+)", self.lines())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.1)
        if not found:
            sys.exit("the server did not start:\n" + self.lines())
        self.address = found[1]
        self.url = "http://" + self.address

    def lines(self):
        with open(self.log) as log:
            return log.read()

    def ask(self, path, body=None, method=None, **headers):
        headers = {name.replace("_", "-"): value
                   for name, value in headers.items()}
        request = urllib.request.Request(
            self.url + path, body, headers, method=method and method.upper())
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def picture(self, name, path):
        with open(f"{ROOT}/models/samples/{name}.png", "rb") as file:
            status, text = self.ask(path, file.read(), Content_Type="image/png")
        return json.loads(text) if status == 200 else sys.exit(text)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def halt(self):
        """Its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def stop(self):
        code = self.halt()
        self.folder.cleanup()
        return code
