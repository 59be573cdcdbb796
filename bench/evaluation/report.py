# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of the paper (T1 to T4) as Markdown, and one CSV file, from the raw results."""

import contextlib
import csv
import json
import os
import statistics
import subprocess

import lab
import plots
from records import FIELDS, Records

PAPER = 61.96  # % by which the paper's FREM shortens restarts on average
LINKS = {"SLOW": lab.SLOW, "FAST": lab.FAST, "LAN": (0.2, 1000)}
ENCODINGS = ("raw", "zstd")
MTBF, INTERVAL = "10h", "30m"  # of T4


def megabytes(value):
    return "" if value is None else f"{value / 1e6:.1f}"


def seconds(value):
    return "" if value is None else f"{value:.2f}"


def milliseconds(value):
    return "" if value is None else f"{value * 1e3:.1f}"


def percent(value):
    return "" if value is None else f"{100 * value:.1f}"


def ratio(a, b):
    return None if a is None or not b else a / b


def markdown(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def machine():
    """Without its name."""
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) / (1 << 20)
    model = "?"
    with contextlib.suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next(line for line in f if line.startswith("model name")).partition(":")[2].strip()
    criu = subprocess.run(
        [os.environ.get("FREM_CRIU", "criu"), "--version"], capture_output=True, text=True, check=False
    ).stdout.split()
    version = criu[1] if len(criu) > 1 else "?"
    return (
        f"{os.cpu_count()} processors, {model}; {memory:.0f} GB of memory; Linux {os.uname().release}; "
        f"CRIU {version}; Debian {_debian()}. Both hosts are network namespaces of this machine, joined by "
        "an emulated link."
    )


def _debian():
    with contextlib.suppress(OSError), open("/etc/debian_version", encoding="ascii") as f:
        return f.read().strip()
    return "?"


class Report:
    """Over all programs that were measured."""

    def __init__(self, records):
        self.r = records
        self.programs = records.programs()
        self.good = [p for p in self.programs if not records.text(p, "failed")]
        self.links = [k for k in LINKS if any(row[1] == k for row in records.rows)]

    def each(self, link):
        """The programs that were restarted over a link."""
        return [p for p in self.good if any(row[:2] == (p, link) for row in self.r.rows)]

    def latency(self, program, link, contender):
        """The paper's restart latency: until the program runs."""
        return self.r.get(program, "resumed", link, contender)

    # -- the tables --

    def t1(self):
        text = "## T1: sizes and restart latency\n\n"
        text += markdown(
            ("program", "what", "image MB", "stored MB", "touch set MB", "stored MB", "share %"),
            [
                (
                    p,
                    self.r.text(p, "what"),
                    megabytes(self.r.get(p, "image")),
                    megabytes(self.r.get(p, "pages_zstd")),
                    megabytes(self.r.get(p, "touch")),
                    megabytes(self.r.get(p, "touch_zstd")),
                    percent(ratio(self.r.get(p, "touch"), self.r.get(p, "image"))),
                )
                for p in self.good
            ],
        )
        for link in self.links:
            text += f"\n### {self.link_title(link)}: resumed after, s\n\n{self.latencies(link)}"
            for work in (1, 10):
                text += f"\n### {link}: work of the first {work} s done again after, s\n\n"
                text += self.responsive(link, work)
        return text

    def link_title(self, link):
        rtt, rate = LINKS[link]
        return f"{link} ({rtt:g} ms, {rate:g} MB/s)"

    def latencies(self, link):
        def reduction(program, encoding):
            full = self.latency(program, link, f"full-{encoding}")
            fast = self.latency(program, link, f"touch-set-{encoding}")
            return None if full is None or fast is None else 1 - fast / full

        names = [f"{k}-{e}" for k in ("full", "touch-set", "now") for e in ENCODINGS]
        titles = ("program", *names, "criu-raw", "reduction % raw", "reduction % zstd")
        rows = []
        for p in self.each(link):
            cells = [self.cell(p, "resumed", link, c) for c in (*names, "criu-raw")]
            rows.append((p, *cells, *(percent(reduction(p, e)) for e in ENCODINGS)))
        return markdown(titles, rows)

    def cell(self, program, measure, link, contender):
        if self.r.text(program, "failed", link, contender):
            return "failed"
        return seconds(self.r.get(program, measure, link, contender))

    def responsive(self, link, work):
        measure = f"responsive_{work}"
        names = ("full-raw", "criu-raw", "touch-set-raw", "now-raw", "bound-raw")
        names += ("full-zstd", "touch-set-zstd", "now-zstd", "bound-zstd")
        rows = []
        for p in self.each(link):
            times = [ratio(self.r.get(p, measure, link, f"now-{e}"),
                           self.r.get(p, measure, link, f"bound-{e}")) for e in ENCODINGS]
            cells = [self.cell(p, measure, link, c) for c in names]
            rows.append((p, *cells, *("" if t is None else f"{t:.2f}" for t in times)))
        return markdown(("program", *names, "now/bound raw", "now/bound zstd"), rows)

    def t2(self):
        names = ("scan_s", "insert_s", "descriptor_s", "frozen_s", "overhead_s")
        rows = [
            (
                p,
                *(milliseconds(self.r.get(p, n)) for n in names),
                self.r.text(p, "scans"),
                seconds(self.r.get(p, "window_s")),
                percent(ratio(self.r.get(p, "overhead_s"), self.r.get(p, "window_s"))),
            )
            for p in self.good
        ]
        titles = ("program", "scan ms", "search and insertion ms", "descriptor ms", "frozen ms")
        titles += ("total ms", "scans", "window s", "share of the window %")
        return "## T2: tracking overhead, processor time a checkpoint\n\n" + markdown(titles, rows)

    def t3(self):
        text = "## T3: the overlap of execution and fetching\n"
        for link in self.links:
            rows = []
            for p in self.each(link):
                for c in ("touch-set-raw", "touch-set-zstd", "now-raw", "now-zstd"):
                    rows.append(self._overlap(p, link, c))
            titles = ("program", "contender", "remaining MB", "overlap s", "overhead s", "undisturbed s")
            titles += ("overhead %", "completed s", "bound s")
            found = [row for row in rows if row]
            text += f"\n### {self.link_title(link)}\n\n" + markdown(titles, found)
        return text

    def _overlap(self, p, link, contender):
        resumed = self.latency(p, link, contender)
        if resumed is None:
            return None
        encoding = contender.rpartition("-")[2]
        before = self.r.get(p, "bytes_before_resume", link, contender) or 0
        completed = self.r.get(p, "completed", link, contender)
        ended = self.r.get(p, "drained", link, contender) or completed
        undisturbed = self.r.get(p, "undisturbed")
        overhead = self.r.get(p, "overhead", link, contender)
        stored = (self.r.get(p, f"pages_{encoding}") or 0) + (self.r.get(p, f"head_{encoding}") or 0)
        return (
            *(p, contender, megabytes(max(0, stored - before))),
            *(seconds(min(ended, completed) - resumed), seconds(overhead), seconds(undisturbed)),
            *(percent(ratio(overhead, undisturbed)), seconds(completed)),
            seconds(self.r.get(p, "completed", link, f"bound-{encoding}")),
        )

    def t4(self):
        text = f"## T4: expected gain and overhead between two restarts\n\n`frem plan` with an MTBF of {MTBF}"
        text += f" and a checkpoint every {INTERVAL}; its model is in [plan.md](../plan.md).\n"
        for link in self.links:
            rows = [row for p in self.each(link) if (row := self._plan(p, link))]
            titles = ("program", "E_gain s", "E_overhead s", "net s", "availability % full")
            titles += ("availability % frem", "best interval")
            text += f"\n### {self.link_title(link)}\n\n" + markdown(titles, rows)
        return text

    def _plan(self, p, link):
        rtt, rate = LINKS[link]
        overhead = self.r.get(p, "overhead", link, "touch-set-zstd") or 0
        image, touch = (
            (self.r.get(p, "head_zstd") or 0) + (self.r.get(p, f"{what}_zstd") or 0)
            for what in ("pages", "touch")
        )
        command = [lab.FREM, "--json", "plan", "--mtbf", MTBF, "--interval", INTERVAL]
        command += ["--link", f"{rate}MB/s,{rtt}ms", "--image", f"{image:.0f}B", "--touch", f"{touch:.0f}B"]
        command += ["--tracking", f"{1e3 * (self.r.get(p, 'overhead_s') or 0):.3f}ms"]
        command += ["--overlap", f"{1e3 * max(0, overhead):.3f}ms"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return None
        plan = json.loads(done.stdout)
        without, with_frem = plan["without_frem"], plan["with_frem"]
        return (
            *(p, seconds(plan["gain_ms"] / 1e3), seconds(plan["overhead_ms"] / 1e3)),
            seconds(plan["net_gain_ms"] / 1e3),
            *(f"{100 * side['availability']:.3f}" for side in (without, with_frem)),
            f"{with_frem['best_interval_ms'] / 6e4:.1f} min",
        )

    # -- what it comes to --

    def summary(self):
        lines = []
        for link in self.links:
            for encoding in ENCODINGS:
                lines += self._summary(link, encoding)
        lines += [f"- the paper: {PAPER} % on average"]
        lost = self.lost()
        if lost:
            lines += ["", "frem does not win in"]
            lines += [f"- {' '.join(row)}" for row in lost]
        return "## What it comes to\n\n" + "\n".join(lines) + "\n"

    def _pairs(self, link, a, b, measure="resumed"):
        pairs = [
            (self.r.get(p, measure, link, a), self.r.get(p, measure, link, b)) for p in self.each(link)
        ]
        return [(x, y) for x, y in pairs if x is not None and y]

    def _summary(self, link, encoding):
        for name in ("touch-set", "now"):
            pairs = self._pairs(link, f"{name}-{encoding}", f"full-{encoding}")
            if pairs:
                mean = statistics.mean(1 - x / y for x, y in pairs)
                yield f"- {link}, {encoding}: `{name}` resumes {percent(mean)} % sooner than `full` (mean of {len(pairs)})"
        for work in (1, 10):
            measure = f"responsive_{work}"
            pairs = self._pairs(link, f"now-{encoding}", f"full-{encoding}", measure)
            if pairs:
                mean = statistics.mean(1 - x / y for x, y in pairs)
                yield (
                    f"- {link}, {encoding}: with `now` the work of the first {work} s is done "
                    f"{percent(mean)} % sooner than with `full` (mean of {len(pairs)})"
                )
            pairs = self._pairs(link, f"now-{encoding}", "criu-raw", measure)
            if pairs:
                mean = statistics.geometric_mean(y / x for x, y in pairs)
                yield f"- {link}, {encoding}: and {mean:.1f} times as fast as CRIU's own (geometric mean of {len(pairs)})"

    def lost(self):
        """Where `now` is not before everybody else to have done the first work."""
        found = []
        for link in self.links:
            for p in self.each(link):
                for encoding in ENCODINGS:
                    for other in (f"full-{encoding}", "criu-raw", f"touch-set-{encoding}"):
                        for measure in ("responsive_1", "responsive_10", "completed"):
                            ours = self.r.get(p, measure, link, f"now-{encoding}")
                            theirs = self.r.get(p, measure, link, other)
                            if ours and theirs and ours > 1.02 * theirs:
                                found.append((p, link, f"now-{encoding}", measure, f"{ours:.2f} s,",
                                              other, f"{theirs:.2f} s"))
        return found

    def failures(self):
        rows = [
            (p, link, contender, why.replace("|", "/"))
            for p, link, contender, why in self.r.all("failed")
        ]
        if not rows:
            return "## Failures\n\nNone: all rows ran to the end, and every output was the undisturbed run's.\n"
        return "## Failures\n\n" + markdown(("program", "link", "contender", "why"), rows)


def make(output):
    """RESULTS.md, results.csv and the plots, from what is in raw/."""
    records = Records.load(os.path.join(output, "raw"))
    if not records.rows:
        return
    it = Report(records)
    with open(os.path.join(output, "results.csv"), "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(records.rows)
    parts = [f"# Results\n\n{machine()}\n\n{LEGEND}", it.summary(), it.t1(), it.t2(), it.t3(), it.t4()]
    parts += [it.failures(), plots.make(records, LINKS, output)]
    with open(os.path.join(output, "README.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(parts))


LEGEND = """Made by `make bench` ([bench/evaluate](../../bench/evaluate)) from [results.csv](results.csv). Contenders:
`full`: everything is fetched, then restored, in the role of BLCR; `criu`: CRIU's own lazy pages and page
server; `touch-set`: frem waits for the touch set, the paper's FREM; `now`: frem's default. `raw`: pages as
they are, but for zero pages; `zstd`: compressed. `bound`: the earliest possible, from the exact trace of first
touches and the link. Work is user processor time of the process tree; all times are from the start of the
restart's command.
"""
