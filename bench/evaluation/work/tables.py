# SPDX-License-Identifier: GPL-2.0-or-later
"""tables.py ROUNDS: numpy over 240 MB of columns: a round sorts, joins and sums up a part of them, and
prints a digest."""

import hashlib
import sys

import numpy as np

ROWS = 6_000_000
PART = 400_000
COLUMNS = 5


def main():
    rng = np.random.default_rng(2008)
    columns = [rng.standard_normal(ROWS) for _ in range(COLUMNS)]
    keys = rng.permutation(ROWS)
    for number in range(int(sys.argv[1])):
        start = number * 7919 * 101 % (ROWS - PART)
        part = keys[start : start + PART]
        a, b = columns[number % COLUMNS], columns[(number + 1) % COLUMNS]
        order = np.argsort(a[start : start + PART], kind="stable")
        groups = np.bincount(part % 1000, weights=b[start : start + PART], minlength=1000)
        spectrum = np.abs(np.fft.rfft(a[start : start + PART][order]))
        b[start : start + PART] = np.tanh(b[start : start + PART] + spectrum[0] / PART)
        text = b"".join(x.tobytes() for x in (order[::100], groups, spectrum[::100]))
        print(number, hashlib.sha256(text).hexdigest(), flush=True)


main()
