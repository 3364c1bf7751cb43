#!/usr/bin/env python3
"""make bench: one report of what soma costs, as ratios measured in one run.

One worker is pinned to the first processor and the load generator (wrk) to
the second; rounds are interleaved, medians shown. Writes build/bench.json and
build/bench.svg beside the table on the terminal.
"""
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.request

from load import (BUILD, ROUNDS, SECONDS, Server, bodies, medians, pinned,
                  soma, wrk)

CONNECTIONS = (1, 16, 64, 256)


def floor():
    return Server([f"{BUILD}/tests/bench/floor"], r"^(\d+)$", "stdout")


def serving(folder, report):
    """soma beside the floor: requests/s and latencies."""
    ours, least = soma(), floor()
    print(f"\n{'/predict of 3072-100-10':<20} {'conns':>5} {'soma/s':>8} "
          f"{'floor/s':>8} {'ratio':>6} {'p50 ms':>7} {'p99 ms':>7}")
    for name, kind, body, images in bodies(folder):
        for connections in CONNECTIONS:
            rounds = [[], []]
            for _ in range(ROUNDS):
                for i, server in enumerate((ours, least)):
                    rounds[i].append(
                        wrk(server.port, kind, body, connections, folder))
            (rate, p50, p99), (top, _, _) = map(medians, rounds)
            # The library's own loop stalls with more connections than it
            # takes events at a time (128): no floor to compare with.
            ratio = rate / top if top > rate else None
            shown = "-" if ratio is None else f"{ratio:.2f}"
            print(f"{name:<20} {connections:>5} {rate:>8.0f} {top:>8.0f} "
                  f"{shown:>6} {p50:>7.2f} {p99:>7.2f}", flush=True)
            report["serving"].append(
                {"request": name, "connections": connections,
                 "images": images, "requests_per_second": rate,
                 "floor_per_second": top, "ratio": ratio,
                 "p50_ms": p50, "p99_ms": p99})
    print("-: the floor's own loop stalls at so many connections")
    report["loaded_kb"] = ours.memory()
    ours.stop()
    least.stop()


def products(report):
    """GFLOP/s of the forward product beside OpenBLAS's best call."""
    text = subprocess.run(pinned(0, [f"{BUILD}/tests/bench/product"]),
                          capture_output=True, text=True, check=True).stdout
    print(f"\n{'forward product':<14} {'rows':>5} {'soma':>7} {'OpenBLAS':>9} "
          f"{'ratio':>6}  GFLOP/s")
    for line in text.splitlines():
        fields = line.split()
        layer, rows = f"{fields[0]}x{fields[1]}", int(fields[2])
        ours, best = float(fields[3]), max(map(float, fields[4:]))
        print(f"{layer:<14} {rows:>5} {ours:>7.1f} {best:>9.1f} "
              f"{ours / best:>6.2f}")
        report["products"].append({"layer": layer, "rows": rows, "soma": ours,
                                   "openblas": best, "ratio": ours / best})


def starting(report):
    """Start to ready with the shipped models, and idle memory."""
    times = []
    for _ in range(ROUNDS * 2):
        begin = time.monotonic()
        server = soma()
        url = f"http://127.0.0.1:{server.port}/readyz"
        urllib.request.urlopen(url, timeout=5).read()
        times.append((time.monotonic() - begin) * 1000)
        memory = server.memory()
        server.stop()
    report["start_ms"] = statistics.median(times)
    report["idle_kb"] = memory
    print(f"\nstart to ready {report['start_ms']:.0f} ms, idle memory "
          f"{memory / 1024:.1f} MB, binary "
          f"{os.path.getsize(f'{BUILD}/soma') / 1e6:.1f} MB")


def plot(report, path):
    """Ratios to the floor as bars, one group for each request."""
    names = list(dict.fromkeys(r["request"] for r in report["serving"]))
    width, height, left, top = 720, 300, 50, 40
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
             f'height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="20">requests/s of soma as a share of a '
             'constant answer by the same HTTP library</text>']
    scale = height - top - 50
    for tick in range(0, 11, 2):
        y = top + scale * (1 - tick / 10)
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y}" y2="{y}" '
                     'stroke="#ddd"/>'
                     f'<text x="{left - 30}" y="{y + 4}">{tick / 10}</text>')
    colours = ("#9ecae1", "#6baed6", "#3182bd", "#08519c")
    group = (width - left - 20) / len(names)
    for i, name in enumerate(names):
        rows = [r for r in report["serving"] if r["request"] == name]
        for k, row in enumerate(rows):
            bar = scale * min(row["ratio"] or 0, 1)
            x = left + 15 + i * group + k * (group - 40) / len(rows)
            parts.append(f'<rect x="{x:.0f}" y="{top + scale - bar:.0f}" '
                         f'width="{(group - 50) / len(rows):.0f}" '
                         f'height="{bar:.0f}" fill="{colours[k]}"/>'
                         f'<text x="{x:.0f}" y="{height - 32}">'
                         f'{row["connections"]}</text>')
        parts.append(f'<text x="{left + 15 + i * group:.0f}" '
                     f'y="{height - 12}">{name} (connections)</text>')
    parts.append("</svg>\n")
    with open(path, "w") as file:
        file.write("\n".join(parts))


def main():
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    print(f"{cores} cores, load {load:.2f}, {ROUNDS} rounds of {SECONDS} s; "
          "ratios are of medians, measured in turn")
    if load > 0.5:
        print("the machine is not idle: ratios hold, single figures do not")
    report = {"cores": cores, "load": load, "rounds": ROUNDS, "serving": [],
              "products": []}
    with tempfile.TemporaryDirectory() as folder:
        serving(folder, report)
    products(report)
    starting(report)
    os.makedirs("build", exist_ok=True)
    with open("build/bench.json", "w") as file:
        json.dump(report, file, indent=1)
    plot(report, "build/bench.svg")
    print("\nbuild/bench.json and build/bench.svg hold all of it")


if __name__ == "__main__":
    main()
