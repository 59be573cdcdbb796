# SPDX-License-Identifier: GPL-2.0-or-later
"""dictionary.py STATUS MEGABYTES: a dict of incompressible values that goes on checking itself.

SIGUSR1: check all and answer; SIGUSR2: exit with status 42.
"""

import hashlib
import os
import signal
import sys
import time

VALUE_BYTES = 4000
POOL = hashlib.shake_128(b"dictionary").digest(2 << 20)
POOL_DIGEST = hashlib.sha256(POOL).digest()


def value_of(number):
    """Incompressible, and no two alike: each starts at a place of its own."""
    start = number * 4099 % (1 << 20)
    return POOL[start : start + VALUE_BYTES]


def answer(line):
    with open(sys.argv[1], "a", encoding="utf-8") as f:
        f.write(line + "\n")


def check(values, numbers):
    for number in numbers:
        if values[f"key {number}"] != value_of(number):
            answer(f"bad key {number}")
            sys.exit(3)


def main():
    count = int(sys.argv[2]) * 1_000_000 // VALUE_BYTES
    values = {f"key {number}": value_of(number) for number in range(count)}
    asked = []
    signal.signal(signal.SIGUSR1, lambda *_: asked.append(True))
    signal.signal(signal.SIGUSR2, lambda *_: os._exit(42))
    ready = int(os.environ["READY_FD"])
    os.write(ready, b"r")
    os.close(ready)
    checked = 0
    while True:
        # a tenth of it is all that is in use
        start = checked % (count // 10)
        check(values, range(start, start + 10))
        checked += 10
        if asked:
            asked.clear()
            if len(values) != count or hashlib.sha256(POOL).digest() != POOL_DIGEST:
                answer(f"bad pool, or {len(values)} keys")
                sys.exit(3)
            check(values, range(count))
            answer(f"ok {checked}")
        time.sleep(0.002)


main()
