# SPDX-License-Identifier: GPL-2.0-or-later
"""The plots, as SVG and PNG: bars of restart latency, touched pages over time, and when what is needed
has arrived."""

import os

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

BARS = ("full-zstd", "criu-raw", "touch-set-zstd", "now-zstd", "bound-zstd")


def save(figure, output, name):
    """Without dates, so that the same results make the same files."""
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(os.path.join(output, f"{name}.svg"), metadata={"Date": None})
    figure.savefig(os.path.join(output, f"{name}.png"), dpi=110)
    plt.close(figure)
    return f"![{name}]({name}.svg)\n"


def bars(records, programs, link, work, output):
    """When the program is resumed, or has done so many seconds' work again."""

    def value(program, contender):
        if work is None:
            return records.get(program, "resumed", link, contender)
        return records.done_again(program, work, link, contender)

    figure, axes = plt.subplots(figsize=(max(6, 1.1 * len(programs)), 4))
    top = 1.1 * max((value(p, c) or 0 for p in programs for c in BARS if c != "criu-raw"), default=0)
    shown = [c for c in BARS if any(value(p, c) for p in programs)]
    width = 0.8 / max(1, len(shown))
    for i, contender in enumerate(shown):
        heights = [value(p, contender) or 0 for p in programs]
        places = [k + i * width for k in range(len(programs))]
        axes.bar(places, heights, width, label=contender)
        for x, y in zip(places, heights):
            if y > top > 0:  # CRIU's own may take ten times as long as everybody else
                axes.text(x, top, f"{y:.0f} s", rotation=90, ha="right", va="top", fontsize=7)
    if top:
        axes.set_ylim(0, top)
    axes.set_xticks([k + 0.4 - width / 2 for k in range(len(programs))], programs, rotation=45, ha="right")
    axes.set_ylabel("s")
    axes.set_title(f"{link}: " + (f"work of the first {work} s done again" if work else "resumed"))
    return save(figure, output, f"responsive-{work}-{link}".lower() if work else f"resumed-{link}".lower())


def curves(records, program, measure, link, contender):
    """[(x, y)] of a measure whose values are pairs."""
    wanted = (program, link, contender, measure)
    found = [row[4].split() for row in records.rows if row[:4] == wanted]
    return [(float(x), float(y)) for x, y in found]


def touched(records, programs, output):
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for p in programs:
        points = curves(records, p, "touched", "", "trace")
        all_pages = records.get(p, "lazy_pages")
        if points and all_pages:
            axes.plot([x for x, _ in points], [100 * y / all_pages for _, y in points], label=p)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_xlabel("work since the checkpoint (s of user processor time)")
    axes.set_ylabel("% of the image touched")
    return save(figure, output, "touched")


def arrival(records, program, link, output):
    """What has arrived with each contender, and what was needed by then, had it never waited."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for contender in BARS[:-1]:
        points = curves(records, program, "arrived", link, contender)
        if not points:
            continue
        axes.plot([x for x, _ in points], [y / 1e6 for _, y in points], label=contender)
    need = curves(records, program, "touched", "", "trace")
    pages, stored = records.get(program, "lazy_pages"), records.get(program, "pages_zstd")
    begin = records.get(program, "resumed", link, "now-zstd") or 0
    if need and pages:
        axes.plot(
            [begin + x for x, _ in need],
            [y * stored / pages / 1e6 for _, y in need],
            "k--",
            label="needed, if nothing had to be waited for",
        )
    axes.set_xlabel("s since the start of the restart")
    axes.set_ylabel("MB arrived, compressed (criu: raw)")
    axes.set_title(f"{program}, {link}")
    return save(figure, output, f"arrival-{program}-{link}".lower())


def make(records, links, output):
    """All of them; the Markdown that shows them."""
    plt.rcParams.update({"svg.hashsalt": "frem", "font.size": 9})
    programs = [p for p in records.programs() if not records.text(p, "failed")]
    text = "## Plots\n\n"
    for link in links:
        there = [p for p in programs if any(row[:2] == (p, link) for row in records.rows)]
        if not there:
            continue
        for work in (None, 1, 10):
            text += bars(records, there, link, work, output) + "\n"
        for p in there:
            text += arrival(records, p, link, output) + "\n"
    return text + touched(records, programs, output)
