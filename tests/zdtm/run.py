# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares frem's lazy-pages daemon with CRIU's own by CRIU's own test suite.

A batch of tests is run with CRIU's daemon, then with frem's. Where one has failed with either, the
tests concerned are run again, alternately, until each has had all its tries; a test that fails more
often with frem's daemon than with CRIU's, the daemon having been started, is a difference.

Exit status: 0 no difference, 1 differences, 2 usage, 77 skipped (the reason is on stderr).
"""

import argparse
import collections
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import machine
from suite import FAIL, FLAVOURS, MODES, PASS, POINTLESS, SKIP, Suite

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("FREM_BUILD") or os.path.join(ROOT, "build"))
REFERENCE, SUBJECT = "criu", "frem"
ALL = " ".join(FLAVOURS)
# those that CRIU's own CI runs lazily, and some for each kind of memory and of process
SMOKE = (
    r"maps0|uffd-events|lazy-thp|futex|fork|zombie00|pthread00"
    r"|static/env00|shm$|mem-touch|cow0|session0"
)


def find_criu():
    unpacked = os.path.join(ROOT, "build", "criu", "criu")
    for candidate in (os.environ.get("FREM_CRIU"), unpacked, "criu"):
        found = candidate and shutil.which(candidate)
        if found:
            return os.path.abspath(found)
    print("zdtm: skipped: there is no CRIU, scripts/setup unpacks one", file=sys.stderr)
    sys.exit(77)


def arguments():
    p = argparse.ArgumentParser(
        prog="zdtm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("tests", nargs="*", metavar="TEST", help="as env00 or zdtm/static/env00")
    p.add_argument("-T", "--matching", metavar="REGEX", help="tests whose name it is found in")
    p.add_argument("-x", "--exclude", metavar="REGEX", help="no tests whose name it is found in")
    p.add_argument(
        "--smoke",
        action="store_true",
        help="a selection: about a minute for each flavour and daemon",
    )
    p.add_argument(
        "-m", "--mode", default="lazy", help=f"of {','.join(MODES)}; several with commas [lazy]"
    )
    p.add_argument("-f", "--flavour", default=",".join(FLAVOURS), help="of h,ns,uns [all]")
    p.add_argument("-d", "--daemon", choices=(REFERENCE, SUBJECT, "both"), default="both")
    p.add_argument(
        "--subject",
        default=os.path.join(BUILD, "frem"),
        metavar="COMMAND",
        help="what is run as `COMMAND lazy-pages …` in frem's place",
    )
    p.add_argument("--tries", type=int, default=3, help="of a test that has failed [3]")
    p.add_argument("--batch", type=int, default=20, help="tests a daemon runs at a time [20]")
    p.add_argument("--limit", type=float, default=90, help="seconds that a test may take [90]")
    p.add_argument("-o", "--output", metavar="FILE", help="every outcome, as JSON")
    p.add_argument(
        "--build", default=os.path.join(ROOT, "build", "zdtm"), help="where the suite is built"
    )
    p.add_argument("-l", "--list", action="store_true", help="only list the tests chosen")
    chosen = p.parse_args()
    chosen.mode, chosen.flavour = chosen.mode.split(","), chosen.flavour.split(",")
    if set(chosen.mode) - set(MODES) or set(chosen.flavour) - set(FLAVOURS):
        p.error("unknown mode or flavour")
    return chosen


def choose(known, chosen):
    """The names, in the suite's order."""
    unknown = [t for t in chosen.tests if not any(t in (n, os.path.basename(n)) for n in known)]
    if unknown:
        sys.exit(f"zdtm: no such test: {' '.join(unknown)}")
    wanted = [r for r in (chosen.matching, SMOKE if chosen.smoke else None) if r]
    names = [
        n
        for n in known
        if (not wanted and not chosen.tests)
        or n in chosen.tests
        or os.path.basename(n) in chosen.tests
        or any(re.search(r, n) for r in wanted)
    ]
    return [n for n in names if not (chosen.exclude and re.search(chosen.exclude, n))]


class Comparison:
    """All outcomes, by (mode, flavour, test) and by daemon."""

    def __init__(self, suite, daemons, tries):
        self._suite, self._daemons, self._tries = suite, daemons, tries
        self.outcomes = collections.defaultdict(lambda: {d: [] for d in daemons})

    def run(self, tests, flavour, mode):
        """One batch, and what of it has to be run again."""
        todo = tests
        for attempt in range(self._tries):
            for daemon, command in self._daemons.items():
                for test, outcome in self._suite.run(todo, flavour, mode, command, daemon).items():
                    self.outcomes[mode, flavour, test][daemon].append(outcome)
                    self._show(attempt, daemon, mode, flavour, test, outcome)
            todo = [t for t in todo if self._failed(mode, flavour, t)]
            if not todo:
                break

    def _failed(self, mode, flavour, test):
        each = self.outcomes[mode, flavour, test].values()
        return any(o.result == FAIL for outcomes in each for o in outcomes)

    @staticmethod
    def _show(attempt, daemon, mode, flavour, test, outcome):
        if outcome.result == FAIL:
            again = f", try {attempt + 1}" if attempt else ""
            print(f"{daemon} {mode} {flavour} {test}: {outcome.text()}{again}", flush=True)

    def passes(self, key, daemon):
        return sum(o.result == PASS for o in self.outcomes[key][daemon])

    def failures(self, key, daemon):
        """Those that can be the daemon's: it had been started."""
        return sum(o.result == FAIL and o.served > 0 for o in self.outcomes[key][daemon])

    def differences(self):
        """Keys for which the subject has failed more often than the reference."""
        if len(self._daemons) < 2:
            return []
        return [k for k in self.outcomes if self.failures(k, SUBJECT) > self.failures(k, REFERENCE)]

    def unserved(self):
        """Passed, but the daemon was never started: CRIU had to refuse the dump, and has."""
        return [
            (key, daemon)
            for key, each in self.outcomes.items()
            for daemon, outcomes in each.items()
            if MODES[key[0]]
            and any(o.result == PASS and not o.served for o in outcomes)
        ]

    def summary(self):
        """Rows of mode, flavour, daemon, passed, flaky, failed, skipped, seconds."""
        rows = []
        for mode, flavour in dict.fromkeys(k[:2] for k in self.outcomes):
            for daemon in self._daemons:
                count, seconds = collections.Counter(), 0.0
                for key, each in self.outcomes.items():
                    if key[:2] == (mode, flavour):
                        results = {o.result for o in each[daemon]}
                        count["flaky" if len(results) > 1 else results.pop()] += 1
                        seconds += sum(o.seconds for o in each[daemon])
                counts = (count[c] for c in (PASS, "flaky", FAIL, SKIP))
                rows.append((mode, flavour, daemon, *counts, round(seconds)))
        return rows

    def as_json(self):
        return [
            {
                "mode": key[0],
                "flavour": key[1],
                "test": key[2],
                **{d: [vars(o) for o in outcomes] for d, outcomes in each.items()},
            }
            for key, each in self.outcomes.items()
        ]


def table(head, rows):
    rows = [head, *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def report(comparison, seconds):
    print()
    table(
        ("mode", "flavour", "daemon", "passed", "flaky", "failed", "skipped", "seconds"),
        comparison.summary(),
    )
    for daemon, number in collections.Counter(d for _, d in comparison.unserved()).items():
        print(f"{daemon}: {number} of those passed without a restore: the dump is to fail")
    differences = comparison.differences()
    if differences:
        print()
        rows = []
        for key in differences:
            tries = [
                f"{comparison.passes(key, d)}/{len(comparison.outcomes[key][d])}"
                for d in (REFERENCE, SUBJECT)
            ]
            failed = [o for o in comparison.outcomes[key][SUBJECT] if o.result == FAIL]
            rows.append((*key, *tries, failed[-1].text()))
        table(("mode", "flavour", "test", REFERENCE, SUBJECT, f"{SUBJECT} ended"), rows)
    print(f"\nzdtm: {len(differences)} differences, {seconds:.0f} s")
    return 1 if differences else 0


def main():
    chosen = arguments()
    criu = find_criu()
    os.makedirs(chosen.build, exist_ok=True)
    prepared = subprocess.run([os.path.join(HERE, "prepare"), chosen.build, criu], check=False)
    if prepared.returncode:
        return prepared.returncode
    subject = shlex.split(chosen.subject)
    subject[0] = os.path.abspath(subject[0])  # zdtm.py has a working directory of its own
    daemons = {REFERENCE: [criu], SUBJECT: subject}
    daemons = {k: v for k, v in daemons.items() if chosen.daemon in (k, "both")}
    suite = Suite(chosen.build, criu, chosen.limit)
    known = suite.tests()
    names = choose(known, chosen)
    if chosen.list:
        print("\n".join(names))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.nice(10)
    started = time.monotonic()
    comparison = Comparison(suite, daemons, chosen.tries)
    with machine.Machine(chosen.build), suite:
        try:
            for mode, flavour in itertools.product(chosen.mode, chosen.flavour):
                if (mode, flavour) in POINTLESS:
                    continue
                fit = [n for n in names if flavour in known[n].get("flavor", ALL).split()]
                for i in range(0, len(fit), chosen.batch):
                    comparison.run(fit[i : i + chosen.batch], flavour, mode)
        finally:
            if chosen.output:
                with open(chosen.output, "w", encoding="utf-8") as f:
                    json.dump(comparison.as_json(), f, indent=1)
    return report(comparison, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
