# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of the paper (T1 to T4) as Markdown, from the raw results."""

import contextlib
import json
import os
import statistics
import subprocess

import lab
import plots
from measure import LINKS
from records import Records

PAPER = 61.96  # % by which the paper's FREM shortens restarts on average
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
    version = "?"
    with contextlib.suppress(OSError, IndexError):
        command = [os.environ.get("FREM_CRIU", "criu"), "--version"]
        version = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()[1]
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

    def value(self, program, measure, link, contender):
        """`measure` is "resumed", "completed", or the seconds of work that have to be done again."""
        if isinstance(measure, int):
            return self.r.done_again(program, measure, link, contender)
        return self.r.get(program, measure, link, contender)

    def cell(self, program, measure, link, contender):
        if self.r.text(program, "failed", link, contender):
            return "failed"
        value, limit = (self.value(program, m, link, contender) for m in (measure, "gave_up"))
        return f"> {limit:.0f}" if value is None and limit else seconds(value)

    def marker(self, program, work):
        """By what its work is measured."""
        return self.r.text(program, "marker") if self.r.get(program, f"steps_{work}") else "cpu"

    def responsive(self, link, work):
        names = ("full-raw", "criu-raw", "touch-set-raw", "now-raw", "bound-raw")
        names += ("full-zstd", "touch-set-zstd", "now-zstd", "bound-zstd")
        rows = []
        for p in self.each(link):
            times = [
                ratio(*(self.value(p, work, link, f"{what}-{e}") for what in ("now", "bound")))
                for e in ENCODINGS
            ]
            cells = [self.cell(p, work, link, c) for c in names]
            times = ["" if t is None else f"{t:.2f}" for t in times]
            rows.append((p, self.marker(p, work), *cells, *times))
        return markdown(("program", "by", *names, "now/bound raw", "now/bound zstd"), rows)

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
        text = "## T3: the overlap of execution and fetching\n\nOverhead: the time that the restarted program"
        text += " took to its end, less that of the undisturbed run. Other tenants of the machine's processors"
        text += " are in it, with either sign; they are not in *more waiting*, the part in which the program"
        text += " was not computing.\n"
        for link in self.links:
            rows = []
            for p in self.each(link):
                for c in ("touch-set-raw", "touch-set-zstd", "now-raw", "now-zstd"):
                    rows.append(self._overlap(p, link, c))
            titles = ("program", "contender", "remaining MB", "overlap s", "overhead s", "undisturbed s")
            titles += ("overhead %", "more waiting s", "completed s", "bound s")
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
            *(percent(ratio(overhead, undisturbed)), seconds(self._waiting(p, link, contender))),
            seconds(completed),
            seconds(self.r.get(p, "completed", link, f"bound-{encoding}")),
        )

    def _waiting(self, p, link, contender):
        """The part of the overhead in which the program did not compute: a processor that is faster
        or slower than it was in the undisturbed run makes no difference to it."""
        overhead, work = (self.r.get(p, m, link, contender) for m in ("overhead", "work"))
        undisturbed = self.r.get(p, "undisturbed_work")
        return None if None in (overhead, work, undisturbed) else overhead - (work - undisturbed)

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
        """Means over all programs, beside the paper's."""
        rows = [row for k in self.links for e in ENCODINGS for row in self._summary(k, e)]
        titles = ("link", "encoding", "contender", "programs", "resumed", "first 1 s", "first 10 s")
        titles += ("first 1 s: times as fast as CRIU", "first 10 s")
        text = "## What it comes to\n\nBy how much sooner than with `full` of the same encoding the program"
        text += " is resumed and has done its first work again, in % (mean); and how many times as fast as"
        text += " with CRIU's own lazy pages (geometric mean)."
        if ended := len(self.r.all("gave_up")):
            text += f" {ended} of CRIU's restarts were ended where `full-raw` was at the program's end: they count"
            text += " as if they had been there just then, so that these ratios are the least that they can be."
        text += " The paper's FREM: resumed"
        text += f" **{PAPER} %** sooner (mean of its programs and links).\n\n" + markdown(titles, rows)
        lost = [" ".join(row) for row in self.lost()]
        text += "\n`now` does not win (by more than 2 %) in " + (f"{len(lost)} cases:\n\n" if lost else "no case.\n")
        return text + "".join(f"- {row}\n" for row in lost)

    def _pairs(self, link, measure, a, b):
        """What is known of both; where one was ended before, it took longer than its limit."""

        def known(p, contender):
            value = self.value(p, measure, link, contender)
            return value or self.r.get(p, "gave_up", link, contender)

        pairs = [(known(p, a), known(p, b)) for p in self.each(link)]
        return [(x, y) for x, y in pairs if x and y]

    def _summary(self, link, encoding):
        for name in ("criu", "touch-set", "now"):
            contender = f"{name}-{encoding}"
            against_full = [
                self._pairs(link, measure, contender, f"full-{encoding}") for measure in ("resumed", 1, 10)
            ]
            if not any(against_full):
                continue
            sooner = [
                percent(statistics.mean(1 - x / y for x, y in pairs)) if pairs else ""
                for pairs in against_full
            ]
            against_criu = [self._pairs(link, work, contender, "criu-raw") for work in (1, 10)]
            times = [
                f"{statistics.geometric_mean(y / x for x, y in pairs):.2f}" if pairs else ""
                for pairs in against_criu
            ]
            yield (link, encoding, name, max(map(len, against_full)), *sooner, *times)

    def lost(self):
        """Where `now` is not before everybody else to have done the first work, or all of it."""
        found = []
        for link, encoding in ((k, e) for k in self.links for e in ENCODINGS):
            others = (f"full-{encoding}", "criu-raw", f"touch-set-{encoding}")
            for p in self.each(link):
                found += [
                    row for other in others if (row := self._lost(p, link, f"now-{encoding}", other))
                ]
        return found

    def _lost(self, p, link, ours, theirs):
        """One line a pair: all measures in which it is behind."""
        behind = []
        for measure, what in ((1, "first 1 s"), (10, "first 10 s"), ("completed", "all work")):
            x, y = (self.value(p, measure, link, c) for c in (ours, theirs))
            if x and y and x > 1.02 * y:
                behind.append(f"{what} {x:.2f} s instead of {y:.2f} s")
        return (f"**{p}**,", link, f"`{ours}` behind `{theirs}`:", "; ".join(behind)) if behind else None

    def failures(self):
        rows = [
            (p, link, contender, why.replace("|", "/"))
            for p, link, contender, why in self.r.all("failed")
        ]
        text = "## Failures\n\n"
        if rows:
            text += markdown(("program", "link", "contender", "why"), rows)
        else:
            text += "None: every output was the undisturbed run's.\n"
        ended = len(self.r.all("gave_up"))
        whole = [row for row in self.r.all("completed") if not row[2].startswith("bound-")]
        text += f"\n{len(whole)} restarts ran to the program's end"
        return text + (f"; {ended} of CRIU's were ended at their limit.\n" if ended else ".\n")


def notes(output):
    """What was written by hand about these results, if anything was."""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(output, "NOTES.md"), encoding="utf-8") as f:
        return f.read()
    return ""


def make(output):
    """README.md and the plots, from what is in raw/."""
    records = Records.load(os.path.join(output, "raw"))
    if not records.rows:
        return
    it = Report(records)
    parts = [f"# Results\n\n{machine()}\n\n{LEGEND}", it.summary(), notes(output), it.failures()]
    parts += [it.t1(), it.t2(), it.t3(), it.t4(), plots.make(records, LINKS, output)]
    with open(os.path.join(output, "README.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(parts))


LEGEND = """Made by `make bench` ([bench/evaluate](../../bench/evaluate)) from the measurements in [raw](raw). Contenders:
`full`: everything is fetched, then restored, in the role of BLCR; `criu`: CRIU's own lazy pages and page
server; `touch-set`: frem waits for the touch set, the paper's FREM; `now`: frem's default. `raw`: pages as
they are, but for zero pages; `zstd`: compressed. `bound`: the earliest possible, from the exact trace of first
touches and the link. Work is measured by the program's own marker where it has one (`lines`, `written`: its
output; `read`: its input), else by the user processor time of the process tree (`cpu`). All times are from
the start of the restart's command.
"""
