# SPDX-License-Identifier: GPL-2.0-or-later
"""orders.py COUNTER MEGABYTES [REPORTS]: reports over the orders of customers, all in memory.

Builds a few hundred MB of ordinary objects, then goes from customer to customer in a fixed
scattered order, and makes each one's report: sorted, summed up, as JSON, with a digest. The number
of reports made is shown in the file COUNTER (8 bytes), which is mapped. It ends after REPORTS of them;
a digest of all of them is printed every hundredth.
"""

import hashlib
import json
import mmap
import random
import struct
import sys

ORDERS_EACH = 20
CUSTOMER_BYTES = 6100  # of memory, with all its orders
STEP = 7919  # a prime: every customer once before the first comes again


class Order:
    """One order of a customer."""

    def __init__(self, number, rng):
        self.number = number
        self.day = rng.randrange(3650)
        self.cents = rng.randrange(1, 100_000)
        self.article = f"article {rng.randrange(100_000):06d}"

    def row(self):
        return {"number": self.number, "day": self.day, "cents": self.cents, "of": self.article}


def report(orders):
    orders = sorted(orders, key=lambda order: (order.day, order.number))
    by_year = {}
    for order in orders:
        by_year[order.day // 365] = by_year.get(order.day // 365, 0) + order.cents
    rows = [order.row() for order in orders]
    digest = ""
    for _ in range(24):
        text = json.dumps({"rows": rows, "years": by_year, "before": digest}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
    return digest


def main():
    with open(sys.argv[1], "w+b") as f:
        f.truncate(mmap.PAGESIZE)
        counter = mmap.mmap(f.fileno(), mmap.PAGESIZE)
    rng = random.Random(2008)
    count = int(sys.argv[2]) * 1_000_000 // CUSTOMER_BYTES
    customers = {
        f"customer {c}": [Order(c * ORDERS_EACH + i, rng) for i in range(ORDERS_EACH)]
        for c in range(count)
    }
    last = int(sys.argv[3]) if len(sys.argv) > 3 else None
    reports, digest = 0, hashlib.sha256()
    while reports != last:
        digest.update(report(customers[f"customer {reports * STEP % count}"]).encode())
        reports += 1
        struct.pack_into("<Q", counter, 0, reports)
        if last and reports % 100 == 0:
            print(reports, digest.hexdigest(), flush=True)


main()
