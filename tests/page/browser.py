"""A soma of its own and a headless Chromium that looks at it."""
import http.server
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions import interaction
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build/gcc"))
SHOTS = os.path.join(ROOT, "build/page")


class Server:
    """soma on one port, which it keeps when it is started again."""

    def __init__(self, *arguments):
        self.arguments = arguments
        self.folder = tempfile.mkdtemp(prefix="soma-page-")
        self.log = os.path.join(self.folder, "log")
        self.address = "127.0.0.1:0"
        self.start()

    def start(self):
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [os.path.join(BUILD, "soma"), "serve", "--listen", self.address,
                 "--models", os.path.join(ROOT, "models"),
                 "--default-model", "mnist",
                 "--data", os.path.join(self.folder, "data"), *self.arguments],
                stderr=log)
        for _ in range(400):
            with open(self.log) as log:
                found = re.search(r"address=http://(\S+)", log.read())
            if found and self._ready(found[1]):
                self.address = found[1]
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        with open(self.log) as log:
            raise RuntimeError("soma did not start: " + log.read())

    @staticmethod
    def _ready(address):
        try:
            return urllib.request.urlopen(f"http://{address}/readyz").status == 200
        except OSError:
            return False

    @property
    def url(self):
        return f"http://{self.address}/"

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url.rstrip("/") + path, data) as answer:
            return json.load(answer)

    def stop(self):
        self.process.terminate()
        if self.process.wait(30):
            raise RuntimeError("soma ended with an error")

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)


def make_key(name, scopes):
    """(the line for --keys, the key) of a new key."""
    made = subprocess.run(
        [os.path.join(BUILD, "soma"), "key", name, "--scopes", scopes],
        capture_output=True, text=True, check=True)
    return made.stdout, made.stderr.strip()


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to soma; `rule(method, path, headers)` may answer in
    its place with (status, headers, body)."""
    daemon_threads = True

    def __init__(self, server):
        super().__init__(("127.0.0.1", 0), Through)
        self.soma = server
        self.rule = lambda method, path, headers: None
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request, client_address):
        """Browsers hang up; that is no error."""

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Through(http.server.BaseHTTPRequestHandler):
    def handle_any(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else None
        answer = self.server.rule(self.command, self.path, self.headers)
        if not answer:
            answer = self.pass_on(body)
        status, headers, data = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def pass_on(self, body):
        kept = {n: v for n, v in self.headers.items()
                if n in ("Accept", "Content-Type")}
        request = urllib.request.Request(
            self.server.soma.url.rstrip("/") + self.path, body, kept,
            method=self.command)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, self.worth(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, self.worth(error.headers), error.read()

    @staticmethod
    def worth(headers):
        return {n: headers[n] for n in ("Content-Type", "Content-Security-Policy")
                if headers[n]}

    do_GET = do_POST = handle_any

    def log_message(self, *_):
        pass


class Page:
    """What a test does with the page, as a person would."""

    def __init__(self, width=1280, height=900, scheme="light"):
        options = webdriver.ChromeOptions()
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu",
                     "--hide-scrollbars", "--disable-dev-shm-usage",
                     "--disable-background-networking"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(
            options=options, service=Service("/usr/bin/chromedriver"))
        self.look(width, height, scheme)

    def look(self, width, height, scheme):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def open(self, url):
        self.driver.get(url)
        self.until(lambda: self.text("#labels") or self.state() != "loading")

    def until(self, condition, seconds=20):
        try:
            return WebDriverWait(self.driver, seconds, 0.02).until(
                lambda _: condition())
        except Exception as error:
            raise AssertionError(
                f"waited in vain; state {self.state()}, "
                f"console {self.console()}") from error

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0]).innerText",
                       selector).strip()

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def state(self):
        return self.js("return document.body.dataset.state")

    def console(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def draw(self, strokes, pointer=interaction.POINTER_MOUSE):
        """Strokes of (x, y), 0 to 1, with a real pointer pressed down: a mouse,
        a finger ("touch") or a pen."""
        canvas = self.find("#draw")
        self.js("arguments[0].scrollIntoView({block: 'center'})", canvas)
        size = canvas.rect["width"]
        hand = ActionChains(self.driver)
        hand.w3c_actions = ActionBuilder(
            self.driver, mouse=PointerInput(pointer, pointer), duration=4)
        for stroke in strokes:
            points = [(int((x - 0.5) * size), int((y - 0.5) * size))
                      for x, y in stroke]
            hand.move_to_element_with_offset(canvas, *points[0]).click_and_hold()
            for x, y in points[1:]:
                hand.move_to_element_with_offset(canvas, x, y)
            hand.release()
        hand.perform()

    def swipe(self, x, y, to_x, to_y):
        """A finger, from and to points of the window."""
        def send(kind, *points):
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {
                "type": kind,
                "touchPoints": [{"x": a, "y": b} for a, b in points]})
        send("touchStart", (x, y))
        for i in range(1, 11):
            send("touchMove", (x + (to_x - x) * i / 10, y + (to_y - y) * i / 10))
        send("touchEnd")

    def answered(self):
        """The verdict, when the newest picture has been answered."""
        self.until(lambda: "answered in" in self.text("#timing"))
        last = None
        for _ in range(50):
            now = self.bars()
            if now == last:
                break
            last = now
            time.sleep(0.08)
        return self.text("#verdict")

    def bars(self, which="#bars"):
        return self.js(
            "return [...document.querySelectorAll(arguments[0] + ' .value')]"
            ".map((v) => v.textContent)", which)

    def clear(self):
        self.find("#clear").click()
        self.until(lambda: self.text("#verdict") == "\u2013")

    def version(self):
        return int(re.search(r"version (\d+)", self.text("#timing"))[1])

    def shot(self, name):
        os.makedirs(SHOTS, exist_ok=True)
        self.driver.save_screenshot(os.path.join(SHOTS, name + ".png"))

    def close(self):
        self.driver.quit()
