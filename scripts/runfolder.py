# SPDX-License-Identifier: MIT
"""One run's folder, read and checked: what plot, report and compare share.

Columns are found by name, so that a later schema may add some. What is missing or garbage raises BadRun with one
line that names the file and the line; callers print it and exit 2. Nothing here writes.
"""

import argparse
import csv
import json
import math
import os
import re
import sys

KEY = ("suite", "case", "allocator", "threads", "placement", "size")
NEEDED = {
    "throughput.csv": KEY + ("ns_per_op", "ci_low_ns", "ci_high_ns", "ops_per_s", "vs_jemalloc", "note"),
    "raw.csv": KEY + ("ns_per_op",),
    "latency.csv": ("suite", "case", "allocator", "threads", "placement", "p50_ns", "p90_ns", "p99_ns",
                    "p999_ns", "p9999_ns", "max_ns"),
    "fragmentation.csv": ("trace", "allocator", "event", "time_ns", "requested_bytes", "allocated_bytes",
                          "backing_bytes", "rss_bytes", "internal_frag"),
    "numa.csv": ("suite", "case", "allocator", "cpu_node", "memory_node", "ns_per_op", "local_ratio"),
    "paths.csv": KEY + ("path", "count", "per_1000_ops"),
    "locks.csv": ("suite", "case", "threads", "lock", "acquired", "contended", "wait_cycles"),
    "programs.csv": ("program", "allocator", "seconds", "seconds_low", "seconds_high", "cpu_seconds", "peak_kib",
                     "peak_kib_low", "peak_kib_high", "vs_best_seconds", "vs_median_peak", "note"),
}
TEXT = {"suite", "case", "allocator", "placement", "size", "note", "trace", "lock", "path", "cpu_node", "memory_node",
        "program"}

# Okabe and Ito's colours, which stay apart for colour-blind eyes; an allocator keeps its colour and its
# gnuplot point type in every figure. Strangers take the spare ones in the order of their names.
STYLE = {
    "kmm": ("#d55e00", 7), "jemalloc": ("#0072b2", 5), "glibc": ("#8a6fb0", 9), "mimalloc": ("#009e73", 11),
    "tcmalloc": ("#e69f00", 13), "mmap": ("#56b4e9", 4), "floor": ("#808080", 2), "kmm-aa": ("#e8a27a", 6), "kmm-fine": ("#a23b00", 6),
}
LINUX = "linux-"  # and the release
LINUX_STYLE = ("#cc79a7", 8)
SPARE = [("#a0522d", 10), ("#4b6584", 12), ("#708238", 14), ("#b33c86", 1), ("#3d9970", 3)]


class BadRun(Exception):
    """A run that cannot be used; the text is one line."""


class Parser(argparse.ArgumentParser):
    """Options whose mistakes are one line, like every other mistake."""

    def error(self, message):
        raise BadRun(message)


def find(name):
    """The folder of a run given as a path, or as a name below results/."""
    for path in (name, os.path.join("results", name)):
        if name and os.path.isdir(path):
            return os.path.realpath(path)
    raise BadRun(f"{name or '(no run given)'}: no such run")


def number(text, where, column):
    """A float, or None for an empty field (not measured). Times and sizes are not below 0."""
    if text in ("", "NA"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (value < 0 and column.endswith(("_ns", "ns_per_op", "_bytes", "seconds", "_kib"))):
        raise BadRun(f"{where}: {column}: {text!r} cannot be")
    return value


def table(run, name, required=True):
    """Rows of one CSV file as dictionaries, figures as floats. An absent optional file has no rows."""
    path = os.path.join(run, name)
    if not required and not os.path.exists(path):
        return []
    rows = []
    try:
        with open(path, newline="", encoding="utf-8") as f:
            reader = csv.DictReader(f, strict=True)
            missing = [c for c in NEEDED[name] if c not in (reader.fieldnames or ())]
            if missing:
                raise BadRun(f"{path}: no column {missing[0]}")
            for row in reader:
                where = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise BadRun(f"{where}: {len(reader.fieldnames)} columns expected")
                rows.append({c: v if c in TEXT else number(v, where, c) for c, v in row.items()})
                if "threads" in row and row["threads"]:
                    rows[-1]["threads"] = int(rows[-1]["threads"])
    except OSError as e:
        raise BadRun(f"{path}: {e.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as e:
        raise BadRun(f"{path}: not a CSV file: {e}") from None
    return rows


def machine(run):
    """machine.json as a dictionary."""
    path = os.path.join(run, "machine.json")
    try:
        with open(path, encoding="utf-8") as f:
            facts = json.load(f)
    except OSError as e:
        raise BadRun(f"{path}: {e.strerror}") from None
    except ValueError as e:
        raise BadRun(f"{path}: not JSON: {e}") from None
    if not isinstance(facts, dict):
        raise BadRun(f"{path}: not a JSON object")
    return facts


def noise_floor(facts):
    """The run's noise floor as a ratio - 1; 0.0 where the run has none."""
    value = facts.get("noise_floor", 0)
    if isinstance(value, dict):
        value = value.get("ratio", 0)
    return abs(float(value)) if isinstance(value, (int, float)) else 0.0


def within(ratio, noise):
    """Is a ratio, or its inverse, no further from 1 than the noise floor?"""
    return ratio > 0 and max(ratio, 1 / ratio) <= 1 + noise


def key(row):
    return tuple(row[c] for c in KEY)


def size_order(size):
    """Sorts sizes by value: '64' before '1024' before '8-2048'."""
    numbers = [int(n) for n in re.findall(r"\d+", size)]
    return (len(numbers), numbers, size)


def split_case(name):
    """('pair', '64') of 'pair/64', which is how the tables without a size column call a case."""
    case, _, size = name.rpartition("/")
    return (case, size) if case else (name, "")


def split_fill(case):
    """(95, 'bulk') of 'fill95/bulk': a pattern with so much of memory in use; None for other cases."""
    found = re.fullmatch(r"fill(\d+)/(.+)", case)
    return (int(found[1]), found[2]) if found else None


def split_courses(fragmentation, throughput):
    """Rows of fragmentation.csv: of replayed traces; of cases that change memory, whose event is a round; and of cases
    of objects (suite/case/size), whose event is one of POINTS."""
    cases = {r["case"] for r in throughput if r["suite"] != "replay"}
    held = [r for r in fragmentation if r["trace"].count("/") >= 2]
    rest = [r for r in fragmentation if r["trace"].count("/") < 2]
    return ([r for r in rest if r["trace"] not in cases], [r for r in rest if r["trace"] in cases], held)


# Events of cases of objects.
POINTS = HELD, DRAINED, DRAINED_TRIMMED, EMPTY, EMPTY_TRIMMED = 1, 2, 3, 4, 5


def bytes_text(size):
    """4096 as '4 KiB'; anything but a plain number as it is."""
    if not size.isdigit():
        return size
    value = int(size)
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value >= 1 << shift and value % (1 << shift) == 0:
            return f"{value >> shift} {unit}"
    return f"{value} B"


def case_text(suite, case, size):
    """How a case is called in figures and tables."""
    if suite != "page" and size in ("", "0", "trace"):
        return case
    if suite == "tree":
        return f"{case} of {size} ranges"
    return f"{case} order {size}" if suite == "page" else f"{case} {bytes_text(size)}"


def styles(names):
    """{allocator: (colour, point type)} for the names, known ones fixed."""
    spare = iter(SPARE * 8)
    return {n: STYLE[n] if n in STYLE else LINUX_STYLE if n.startswith(LINUX) else next(spare) for n in sorted(set(names))}


def linux_name(rows):
    """What the Linux kernel is called in these rows; None where it took no part."""
    return next((r["allocator"] for r in rows if r["allocator"].startswith(LINUX)), None)


def ratio(row, base):
    """(time of a row / time of another, least, most), as far as the 95 % intervals of both leave it open."""
    value = row["ns_per_op"] / base["ns_per_op"]
    least = (row["ci_low_ns"] or row["ns_per_op"]) / (base["ci_high_ns"] or base["ns_per_op"])
    most = (row["ci_high_ns"] or row["ns_per_op"]) / (base["ci_low_ns"] or base["ns_per_op"])
    return value, least, most


def beside_linux(rows):
    """{suite: {(case, size): {allocator: row}}} of what kmm and Linux were both measured in, of one thread: Linux has
    no more. Cases as they come, sizes by value."""
    name = linux_name(rows)
    suites = {}
    for row in rows:
        if row["ns_per_op"] and row["threads"] == 1 and row["placement"] in ("", "local"):
            suites.setdefault(row["suite"], {}).setdefault((row["case"], row["size"]), {})[row["allocator"]] = row
    found = {}
    for suite, cases in suites.items():
        names = list(dict.fromkeys(case for case, _ in cases))
        for key in sorted(cases, key=lambda k: (names.index(k[0]), size_order(k[1]))):
            if "kmm" in cases[key] and name in cases[key]:
                found.setdefault(suite, {})[key] = cases[key]
    return found


def allocator_order(names):
    """kmm first, then the baseline, then the others as STYLE lists them, then strangers by name."""
    known = list(STYLE)
    return sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n))


def main(tool, run):
    """Call run(); turn what a user can cause into one line and exit status 2."""
    try:
        sys.exit(run() or 0)
    except BadRun as e:
        print(f"kmm: {tool}: {e}", file=sys.stderr)
    except BrokenPipeError:
        sys.stderr.close()
    except OSError as e:
        print(f"kmm: {tool}: {e.filename}: {e.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(2)
