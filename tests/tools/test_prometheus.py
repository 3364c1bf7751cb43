"""promtool and a real Prometheus read /metrics; values are compared with
what was asked of the server."""
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

from soma import ROOT, Server, check, end

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def tool(*arguments, text=None):
    done = subprocess.run(["promtool", *arguments], input=text, text=True,
                          capture_output=True, timeout=60)
    return done.returncode == 0, done.stdout + done.stderr


def check_logs(server):
    for parent in (f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-more",
                   f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more",
                   f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01",
                   f"00-{TRACE.upper()}-{SPAN}-01", "nonsense"):
        server.ask("/healthz", traceparent=parent)
    # A request's line is written when its answer is out.
    for _ in range(200):
        if server.lines().count('"healthz"') >= 8:
            break
        time.sleep(0.05)
    lines = [json.loads(line) for line in server.lines().splitlines()]
    check("each log line has time, level and event", all(
        {"time", "level", "event"} <= line.keys() for line in lines))
    requests = [line for line in lines if line["event"] == "request" and
                line["route"] == "healthz"]
    check("each request is logged", len(requests) == 8, len(requests))
    # Two workers may have written them in another order.
    traced = [line for line in requests if "trace_id" in line]
    check("a good traceparent is, a bad one is not", len(traced) == 2 and all(
        line["trace_id"] == TRACE and line["span_id"] == SPAN
        for line in traced), len(traced))


def prometheus_of(server, folder):
    """Runs one by docker/prometheus.yml, but for the target and the pace."""
    with open(f"{ROOT}/docker/prometheus.yml") as file:
        text = file.read()
    text = text.replace("soma:8080", server.address).replace("15s", "1s")
    with open(f"{folder}/prometheus.yml", "w") as file:
        file.write(text)
    log = open(f"{folder}/log", "w")
    process = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml",
         f"--storage.tsdb.path={folder}/data",
         "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log)
    for _ in range(100):
        # It logs the address it was told, not the one it got.
        listening = subprocess.run(
            ["ss", "-Hltnp"], capture_output=True, text=True).stdout
        found = re.search(r"(127\.0\.0\.1:\d+).*pid=%d," % process.pid,
                          listening)
        if found:
            return process, found[1]
        time.sleep(0.1)
    raise SystemExit(open(f"{folder}/log").read())


def query(address, text):
    url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode(
        {"query": text})
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(result[0]["value"][1]) if len(result) == 1 else None


def check_scrape(server):
    folder = tempfile.TemporaryDirectory()
    process, address = prometheus_of(server, folder.name)
    try:
        for _ in range(60):
            if query(address, "up{job='soma'}") == 1:
                break
            time.sleep(0.5)
        time.sleep(2)
        by_pid = int(open(f"/proc/{server.process.pid}/statm").read()
                     .split()[1]) * os.sysconf("SC_PAGESIZE")
        model = "{model='fashion'}"
        for text, low, high in (
                ("up{job='soma'}", 1, 1),
                (f"soma_examples_total{model}", 3, 3),
                (f"soma_model_version{model}", 3, 3),
                (f"soma_progressive_accuracy_ratio{model}", 1, 1),
                (f"soma_progressive_loss{model}", 0, 0.7),
                (f"soma_journal_commit_seconds_count{model}", 3, 3),
                (f"soma_journal_commit_seconds_sum{model}", 1e-5, 30),
                ("soma_request_seconds_count{route='predict',status='200'}",
                 5, 5),
                ("soma_request_seconds_count{route='predict',status='400'}",
                 1, 1),
                ("histogram_quantile(0.99, soma_request_seconds_bucket"
                 "{route='predict',status='200'})", 1e-5, 5),
                ("soma_batch_rows_sum", 5, 5),
                ("soma_layer_sampled_rows{model='fashion',layer='0'}", 1, 5),
                ("soma_layer_saturation_ratio{model='fashion',layer='0'}",
                 0.05, 0.99),
                ("soma_layer_dead_units{model='fashion',layer='0'}", 1, 255),
                ("process_resident_memory_bytes{job='soma'}", by_pid / 2,
                 by_pid * 2),
                ("process_open_fds{job='soma'}", 10, 500),
                ("process_cpu_seconds_total{job='soma'}", 0.001, 600),
                ("time() - process_start_time_seconds{job='soma'}", 0, 120)):
            seen = query(address, text)
            check(text, seen is not None and low <= seen <= high, seen)
    finally:
        process.terminate()
        process.wait(30)
        folder.cleanup()


server = Server("--log-format", "json", "--log-level", "debug")
for _ in range(3):
    server.picture("sandal", "/models/fashion/train?label=Sandal")
for _ in range(5):
    server.picture("ankle-boot", "/models/fashion/predict")
    time.sleep(0.02)
server.ask("/models/fashion/predict", b"{}")
good, said = tool("check", "metrics", text=server.ask("/metrics")[1])
check("promtool check metrics", good and not said.strip(), said)
good, said = tool("check", "config", f"{ROOT}/docker/prometheus.yml")
check("promtool check config docker/prometheus.yml", good, said)
check_logs(server)
check_scrape(server)
check("the server ends well", server.stop() == 0)
end()
