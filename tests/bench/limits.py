#!/usr/bin/env python3
"""make bench-limits: soma beside its own limits, as ratios measured in one run.

One worker is pinned to the first processor and the load generator (wrk) to
the second; rounds are interleaved, medians shown. Writes build/limits.json
beside the table on the terminal.
"""
import json
import os
import statistics
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from load import (BUILD, ROUNDS, SECONDS, Server, bodies, end_on_sigterm,
                  medians, pinned, pixels, soma, wrk)

CONNECTIONS = (1, 16, 64, 256)


def floor():
    return Server([f"{BUILD}/tests/bench/floor"], r"^(\d+)$", "stdout")


def serving(folder, report):
    """soma beside the floor: requests/s and latencies. Where the load
    generator is the limit the floor idles, so the processor time of a request
    is compared too."""
    with soma() as ours, floor() as least:
        print(f"\n{'/predict of 3072-100-10':<20} {'conns':>5} {'soma/s':>8} "
              f"{'floor/s':>8} {'ratio':>6} {'p50 ms':>7} {'p99 ms':>7} "
              f"{'soma us':>8} {'floor us':>8} {'ratio':>6}")
        for request in bodies(folder):
            for connections in CONNECTIONS:
                serve(ours, least, request, connections, folder, report)
        print("-: the floor's own loop stalls at so many connections")
        report["loaded_kb"] = ours.memory()


def serve(ours, least, request, connections, folder, report):
    name, kind, body, images = request
    rounds = [[], []]
    for _ in range(ROUNDS):
        for i, server in enumerate((ours, least)):
            before = server.busy()
            figures = wrk(server.port, kind, body, connections, folder)
            if not figures[0] and server is ours:
                raise SystemExit(f"{name}: nothing was answered")
            spent = ((server.busy() - before) / (figures[0] * float(SECONDS))
                     if figures[0] else 0)
            rounds[i].append((*figures, spent * 1e6))
    (rate, p50, p99, cost), (top, _, _, least_cost) = map(medians, rounds)
    # The library's own loop stalls with more connections than it takes events
    # at a time (128): no floor to compare with.
    ratio = rate / top if top > rate else None
    shown = "-" if ratio is None else f"{ratio:.2f}"
    print(f"{name:<20} {connections:>5} {rate:>8.0f} {top:>8.0f} {shown:>6} "
          f"{p50:>7.2f} {p99:>7.2f} {cost:>8.1f} {least_cost:>8.1f} "
          f"{least_cost / cost:>6.2f}", flush=True)
    report["serving"].append(
        {"request": name, "connections": connections, "images": images,
         "requests_per_second": rate, "floor_per_second": top, "ratio": ratio,
         "p50_ms": p50, "p99_ms": p99, "processor_us": cost,
         "floor_processor_us": least_cost,
         "processor_ratio": least_cost / cost})


def output(name):
    return subprocess.run(pinned(0, [f"{BUILD}/tests/bench/{name}"]),
                          capture_output=True, text=True, check=True,
                          env=dict(os.environ, OMP_NUM_THREADS="1")).stdout


def products(report):
    """GFLOP/s of the forward product beside the best of OpenBLAS's calls and
    oneDNN, and as a share of what the core can do: its multiply-adds, or the
    weights at the memory's bandwidth where they are read for too few rows (a
    share above 1 then means that they came from a cache)."""
    peak, bandwidth = map(float, output("peak").split())
    report["peak_gflops"], report["bandwidth_gb"] = peak, bandwidth
    print(f"\none core: {peak:.0f} GFLOP/s at most, memory {bandwidth:.0f} GB/s"
          f"\n{'forward product':<14} {'rows':>5} {'soma':>7} {'OpenBLAS':>9} "
          f"{'oneDNN':>7} {'ratio':>6} {'of peak':>8}  GFLOP/s")
    for line in output("product").splitlines():
        fields = line.split()
        layer, rows = f"{fields[0]}x{fields[1]}", int(fields[2])
        ours, gemm, gemv, other = map(float, fields[3:])
        blas = max(gemm, gemv)
        limit = min(peak, bandwidth * rows / 2)
        ratio = ours / max(blas, other)
        print(f"{layer:<14} {rows:>5} {ours:>7.1f} {blas:>9.1f} {other:>7.1f} "
              f"{ratio:>6.2f} {ours / limit:>8.2f}")
        report["products"].append(
            {"layer": layer, "rows": rows, "soma": ours, "openblas": blas,
             "onednn": other, "ratio": ratio, "of_limit": ours / limit})


SIZES = (("3072-100-10", (100,)), ("3072-1024-10", (1024,)),
         ("3072-1024-1024-10", (1024, 1024)),
         ("3072-8192-3072-10", (8192, 3072)))


def write_model(path, hidden):
    """A model file of small weights, in half precision."""
    units = [3072, *hidden, 10]
    some = struct.pack("<1009e", *(((i * 7919) % 1009 - 504) / 50400
                                   for i in range(1009)))
    tensors, at = {}, 0
    for i, (n, m) in enumerate(zip(units, units[1:])):
        for name, shape in (("weight", [m, n]), ("bias", [m])):
            size = 2 * m * (n if name == "weight" else 1)
            tensors[f"layers.{i}.{name}"] = {
                "dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    about = {"format": 1,
             "input": {"shape": [3072], "range": [0, 255], "mean": [128],
                       "std": [64]},
             "layers": [{"units": n, "activation": "relu"} for n in hidden]
             + [{"units": 10, "activation": "identity"}],
             "loss": "softmax_cross_entropy"}
    head = json.dumps({"__metadata__": {"soma": json.dumps(about)},
                       **tensors}).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.write((some * (at // len(some) + 1))[:at])
    return at // 2


def by_workers(folder, report):
    """Not pinned: the load generator shares the cores."""
    _, kind, body, _ = bodies(folder)[0]
    rates = []
    for workers in (1, 2):
        with soma(workers) as server:
            rates.append(medians([wrk(server.port, kind, body, 64, folder)
                                  for _ in range(ROUNDS)])[0])
        report["workers"].append({"workers": workers,
                                  "requests_per_second": rates[-1]})
    print(f"\nworkers, the load beside them on the same cores: 1 gives "
          f"{rates[0]:.0f}/s, 2 give {rates[1]:.0f}/s "
          f"({rates[1] / rates[0]:.2f} times)")


def by_batch(folder, report):
    """Images a second by images in one body of bytes."""
    print(f"\n{'images in a body':<20} {'images/s':>9} {'us each':>8}")
    with soma() as server:
        for count in (1, 4, 16, 64, 256):
            body = os.path.join(folder, f"batch{count}")
            with open(body, "wb") as file:
                file.write(bytes(pixels(3072)) * count)
            rate = count * medians(
                [wrk(server.port, "application/octet-stream", body, 4, folder)
                 for _ in range(ROUNDS)])[0]
            report["batches"].append(
                {"images": count, "images_per_second": rate})
            print(f"{count:<20} {rate:>9.0f} {1e6 / rate:>8.1f}")


def by_size(folder, report):
    """Rows a second by parameters, 64 rows a body: cost grows with work."""
    print(f"\n{'model':<20} {'million':>8} {'rows/s':>8} {'us a row':>9} "
          f"{'GFLOP/s':>8} {'start ms':>9} {'MB':>6}")
    body = os.path.join(folder, "size")
    with open(body, "wb") as file:
        file.write(bytes(pixels(3072)) * 64)
    for name, hidden in SIZES:
        path = os.path.join(folder, "size.safetensors")
        count = write_model(path, hidden)
        begin = time.monotonic()
        with soma(models=path) as server:
            start = (time.monotonic() - begin) * 1000
            rate = 64 * medians(
                [wrk(server.port, "application/octet-stream", body, 4, folder,
                     "/predict") for _ in range(ROUNDS)])[0]
            memory = server.memory()
        report["sizes"].append({"model": name, "parameters": count,
                                "rows_per_second": rate, "start_ms": start,
                                "kb": memory})
        print(f"{name:<20} {count / 1e6:>8.1f} {rate:>8.0f} "
              f"{1e6 / rate:>9.1f} {rate * count * 2 / 1e9:>8.1f} "
              f"{start:>9.0f} {memory / 1024:>6.0f}")


def is_ready(url):
    try:
        urllib.request.urlopen(url, timeout=5).read()
        return True
    except urllib.error.HTTPError:
        return False


def starting(report):
    """Start to ready with the shipped models, and idle memory."""
    times = []
    for _ in range(ROUNDS * 2):
        begin = time.monotonic()
        with soma() as server:
            url = f"http://127.0.0.1:{server.port}/readyz"
            while not is_ready(url):
                time.sleep(0.0005)
            times.append((time.monotonic() - begin) * 1000)
            memory = server.memory()
    report["start_ms"] = statistics.median(times)
    report["idle_kb"] = memory
    print(f"\nstart to ready {report['start_ms']:.0f} ms, idle memory "
          f"{memory / 1024:.1f} MB, binary "
          f"{os.path.getsize(f'{BUILD}/soma') / 1e6:.1f} MB")


def main():
    end_on_sigterm()
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    print(f"{cores} cores, load {load:.2f}, {ROUNDS} rounds of {SECONDS} s; "
          "ratios are of medians, measured in turn")
    if load > 0.5:
        print("the machine is not idle: ratios hold, single figures do not")
    report = {"cores": cores, "load": load, "rounds": ROUNDS, "serving": [],
              "products": [], "workers": [], "batches": [], "sizes": []}
    with tempfile.TemporaryDirectory() as folder:
        starting(report)
        serving(folder, report)
        by_workers(folder, report)
        by_batch(folder, report)
        by_size(folder, report)
    products(report)
    os.makedirs("build", exist_ok=True)
    with open("build/limits.json", "w") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
