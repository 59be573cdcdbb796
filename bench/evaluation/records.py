# SPDX-License-Identifier: GPL-2.0-or-later
"""The raw results: a CSV file a program, one measure a line, written at once when the program is through.

    program,link,contender,measure,value

Link and contender are empty where a measure has nothing to do with them. Times are seconds, sizes bytes.
The measure `failed` has the reason as its value.
"""

import csv
import os

FIELDS = ("program", "link", "contender", "measure", "value")


class Records:
    """The measures of one program, or of all."""

    def __init__(self, program=None):
        self.program = program
        self.rows = []

    def add(self, measures, link="", contender=""):
        """None is not known, and left out."""
        for measure, value in measures.items():
            if value is not None:
                text = f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
                self.rows.append((self.program, link, contender, measure, str(text)))

    def save(self, directory):
        os.makedirs(directory, exist_ok=True)
        path = os.path.join(directory, f"{self.program}.csv")
        with open(path + ".new", "w", encoding="utf-8", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(FIELDS)
            writer.writerows(self.rows)
        os.replace(path + ".new", path)

    @classmethod
    def load(cls, directory):
        """Of all programs that are there."""
        found = cls()
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
            if name.endswith(".csv"):
                with open(os.path.join(directory, name), encoding="utf-8", newline="") as f:
                    found.rows += [tuple(row[k] for k in FIELDS) for row in csv.DictReader(f)]
        return found

    def replace(self, other, links, contenders):
        """Takes what another run measured of these contenders over these links."""
        self.rows = [row for row in self.rows if row[1] not in links or row[2] not in contenders]
        self.rows += [row for row in other.rows if row[1] in links and row[2] in contenders]

    def of(self, program):
        """A program's own."""
        one = Records(program)
        one.rows = [row for row in self.rows if row[0] == program]
        return one

    def programs(self):
        return list(dict.fromkeys(row[0] for row in self.rows))

    def text(self, program, measure, link="", contender=""):
        wanted = (program, link, contender, measure)
        return next((row[4] for row in self.rows if row[:4] == wanted), None)

    def get(self, program, measure, link="", contender=""):
        """A number, or None."""
        value = self.text(program, measure, link, contender)
        return None if value is None else float(value)

    def done_again(self, program, seconds, link, contender):
        """When the work of so many seconds had been done again: by the program's own marker where it
        moved in that time, else by its user processor time. A lower bound is the same for both."""
        marked = self.get(program, f"steps_{seconds}") and not contender.startswith("bound-")
        measure = "progressed" if marked else "responsive"
        return self.get(program, f"{measure}_{seconds}", link, contender)

    def all(self, measure):
        """[(program, link, contender, value)] of a measure, wherever it is."""
        return [(*row[:3], row[4]) for row in self.rows if row[3] == measure]
