#!/usr/bin/env python3
"""What the parts of make bench have written to build/, as one report: a table
(Markdown, as in the README), build/bench.json and build/bench.svg. A part that
was not run, or a peer that could not be had, is named."""
import json
import os
import sys

PARTS = ("limits", "learning", "replicas", "peers", "training")


def load():
    report = {}
    for part in PARTS:
        path = f"build/{part}.json"
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                report[part] = json.load(file)
    return report


# ---- The table: what, soma, beside it, ratio ----

def floor_rows(limits):
    for row in limits["serving"]:
        if row["connections"] == 64 and row["images"] == 1 and row["ratio"]:
            yield (f"{row['request']}, 64 connections",
                   f"{row['requests_per_second']:,.0f}/s",
                   f"{row['floor_per_second']:,.0f}/s: a constant answer by "
                   "the same HTTP library", row["ratio"])


def product_of(limits, layer, rows):
    return next(row for row in limits["products"]
                if (row["layer"], row["rows"]) == (layer, rows))


def many_images(limits):
    """Images a second of 64 in one body, beside the first layer's product
    alone (the second one adds 0.3 % of work)."""
    best = max(row["requests_per_second"] * 64 for row in limits["serving"]
               if row["images"] == 64)
    product = product_of(limits, "3072x100", 64)["soma"]
    alone = product * 1e9 / (2 * 3072 * 100 + 2 * 100 * 10)
    yield ("64 images in one JSON body", f"{best:,.0f} images/s",
           f"{alone:,.0f} images/s: the forward product alone", best / alone)


def products(limits):
    row = product_of(limits, "3072x100", 64)
    yield ("forward product, 64 rows of 3072x100",
           f"{row['soma']:.0f} GFLOP/s",
           f"{row['onednn']:.0f} by oneDNN, {row['openblas']:.0f} by OpenBLAS; "
           f"the core does {limits['peak_gflops']:.0f}", row["ratio"])
    worst = min(limits["products"], key=lambda each: each["ratio"])
    yield (f"the worst of {len(limits['products'])} layers and batches, "
           f"{worst['layer']} at {worst['rows']}",
           f"{worst['soma']:.0f} GFLOP/s",
           f"{worst['onednn']:.0f} by oneDNN, {worst['openblas']:.0f} by "
           "OpenBLAS", worst["ratio"])


def starting(limits):
    yield ("start to ready, the shipped models; memory then",
           f"{limits['start_ms']:.0f} ms; {limits['idle_kb'] / 1024:.0f} MB",
           "", None)


def best_peer(peers, column, place, pick, tail):
    names = [name for name in peers["results"]
             if not name.startswith("soma")
             and name.endswith(", bytes") == bool(tail)]
    return pick(names, key=lambda n: peers["results"][n][column][place])


def short(name):
    return name.removesuffix(", bytes")


def peer_rows(peers):
    results, about = peers["results"], peers["about"]
    for kind, tail in (("JSON", ""), ("bytes", ", bytes")):
        ours = results["soma" + tail]["64"][0]
        name = best_peer(peers, "64", 0, max, tail)
        theirs = results[name]["64"][0]
        yield (f"one image as {kind}, 64 connections", f"{ours:,.0f}/s",
               f"{theirs:,.0f}/s: {short(name)}, the best peer", ours / theirs)
    ours = results["soma"]["1"][1]
    name = best_peer(peers, "1", 1, min, "")
    theirs = results[name]["1"][1]
    yield ("one image as JSON, 1 connection, median", f"{ours:.2f} ms",
           f"{theirs:.2f} ms: {name}", ours / theirs)
    for place, what, unit, scale in (
            (0, "start to the first answer", "ms", 1),
            (1, "memory, idle", "MB", 1024),
            (3, "installed, without libraries and interpreter", "MB", 1e6)):
        name = min((n for n in about if n != "soma"),
                   key=lambda n: about[n][place])
        ours, theirs = about["soma"][place], about[name][place]
        yield (what, f"{ours / scale:,.0f} {unit}",
               f"{theirs / scale:,.0f} {unit}: {name}", ours / theirs)


def learning_rows(learning):
    for row in learning["train"]:
        if row["connections"] == 64:
            yield (f"durable /train, 64 connections, {row['way']}",
                   f"{row['examples_per_second']:,.0f}/s", "", None)
    for row in learning["train"]:
        if row["ratio"]:
            yield (f"durable /train, 1 connection, {row['way']}, median",
                   f"{row['p50_ms']:.2f} ms",
                   f"{row['p50_ms'] / row['ratio']:.2f} ms: the commit and "
                   "the step alone", row["ratio"])
    p = learning["predict"]
    yield (f"/predict, p99 while {p['examples_per_second']:,.0f} examples/s "
           "are taught", f"{p['p99_while_learning_ms']:.2f} ms",
           f"{p['p99_ms']:.2f} ms without", p["ratio"])
    r = learning["recovery"]
    yield (f"{r['examples']:,} examples learned again after kill -9",
           f"{r['replay_s']:.1f} s",
           f"{r['start_s']:.2f} s from the last checkpoint", None)


def replica_rows(replicas):
    for row in replicas["scaling"]:
        if row["taught"] == row["replicas"]:
            yield (f"replicas on one core, {row['replicas']}, all taught, 15 "
                   f"rehearsed, appendfsync {row['fsync']}",
                   f"{row['examples_per_second']:,.0f} examples/s",
                   f"{row['expected']:,.0f} by the costs of one",
                   row["examples_per_second"] / row["expected"])
    for row in replicas["joining"]:
        yield (f"a replica joins, a checkpoint of {row['mb']:.1f} MB",
               f"{row['ready_ms']:.0f} ms", "", None)


def training_rows(training):
    steps = training["single_steps"]
    for i, shape in enumerate(training["shapes"]):
        peers = {name: rates[i] for name, rates in steps.items()
                 if name != "soma"}
        if peers:
            name = max(peers, key=peers.get)
            yield (f"single steps of {shape}, one core, no journal",
                   f"{steps['soma'][i]:,.0f}/s",
                   f"{peers[name]:,.0f}/s: {name}, the best peer",
                   steps["soma"][i] / peers[name])
    epochs = training["epochs"]
    if "soma train" in epochs and "PyTorch" in epochs:
        ours, theirs = epochs["soma train"], epochs["PyTorch"]
        yield (f"an epoch of MNIST, 784-128-10, all cores "
               f"({ours['accuracy']:.1f} %)", f"{ours['seconds']:.2f} s",
               f"{theirs['seconds']:.2f} s: PyTorch "
               f"({theirs['accuracy']:.1f} %)",
               ours["seconds"] / theirs["seconds"])


def rows_of(report):
    makers = {"limits": (floor_rows, many_images, products, starting),
              "peers": (peer_rows,), "learning": (learning_rows,),
              "replicas": (replica_rows,),
              "training": (training_rows,)}
    for part, functions in makers.items():
        if part in report:
            for make in functions:
                yield from make(report[part])


def table(report):
    print("\n| what | soma | beside it | ratio |\n|---|---|---|---|")
    for what, ours, other, ratio in rows_of(report):
        shown = "" if ratio is None else f"{ratio:.2f}"
        print(f"| {what} | {ours} | {other} | {shown} |")
    for part in PARTS:
        if part not in report:
            print(f"NOT MEASURED: make bench-{part} has not run")
        for name, why in report.get(part, {}).get("not_measured", {}).items():
            print(f"NOT MEASURED: {name}: {why}")


# ---- The plot: soma, its floor and its peers ----

WIDTH, BAR, LEFT, HALF = 760, 22, 160, 380


def panel(title, bars, left, width, shown):
    """Horizontal bars from `left` on, the longest `width` long."""
    most = max(value for _, value, _ in bars)
    parts = [f'<text x="{left}" y="20" font-weight="bold">{title}</text>']
    for i, (_, value, colour) in enumerate(bars):
        y = 34 + i * (BAR + 8)
        length = max(1, value / most * width)
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" '
                     f'height="{BAR}" fill="{colour}"/>'
                     f'<text x="{left + length + 6:.1f}" y="{y + 15}">'
                     f'{shown(value)}</text>')
    return parts


def plot(report, path):
    results = report["peers"]["results"]
    names = [name for name in results if not name.endswith(", bytes")]
    names.sort(key=lambda n: -results[n]["64"][0])
    colour = {name: "#2b6cb0" if name == "soma" else "#a0aec0"
              for name in names}
    rates = [(n, results[n]["64"][0], colour[n]) for n in names]
    times = [(n, results[n]["1"][1], colour[n]) for n in names]
    height = 44 + len(names) * (BAR + 8)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
             f'height="{height}" font-family="sans-serif" font-size="13" '
             'fill="#1a202c">',
             f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for i, name in enumerate(names):
        parts.append(f'<text x="{LEFT - 8}" y="{49 + i * (BAR + 8)}" '
                     f'text-anchor="end">{name}</text>')
    parts += panel("requests/s, 64 connections", rates, LEFT, 210,
                   lambda v: f"{v:,.0f}")
    parts += panel("median ms, 1 connection", times, LEFT + HALF - 90, 210,
                   lambda v: f"{v:.2f}")
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join([*parts, "</svg>\n"]))


def main():
    report = load()
    if not report:
        sys.exit("nothing was measured: run make bench")
    table(report)
    with open("build/bench.json", "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)
    written = "build/bench.json"
    if "peers" in report:
        plot(report, "build/bench.svg")
        written += " and build/bench.svg"
    print(f"\n{written} hold what was measured")


if __name__ == "__main__":
    main()
