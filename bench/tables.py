# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain tables for terminals."""


def table(titles, rows):
    """The lines of a table: the first column to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells)]
    for line in (titles, ["-" * w for w in widths], *cells):
        first, *others = (text.rjust(w) for text, w in zip(line, widths))
        yield "  ".join([first.strip().ljust(widths[0]), *others]).rstrip()


def percent(value, digits=2):
    return f"{100 * value:.{digits}f} %"
