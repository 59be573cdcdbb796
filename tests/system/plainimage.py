# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain image directories: CRIU run by itself, without frem, and images changed by hand."""

import os
import resource
import struct
import subprocess

import lab
from fremtest import CRIU

CRIU = os.environ.get("FREM_CRIU", CRIU)
PAGE = 4096
PARENT, LAZY, PRESENT = 1, 2, 4
VADDR, FLAGS, PAGES = 1, 4, 5  # fields of a pagemap entry
RUN = 16  # pages that stay in an image, or move to its parent, together


def criu(*arguments):
    def raise_limit():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    done = subprocess.run(
        [CRIU, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        preexec_fn=raise_limit,
        check=False,
    )
    return done


class Dumped:
    """A victim that is nothing but a plain image directory."""

    def __init__(self, victim, directory):
        self.victim = victim
        self.images, self.work = str(directory / "images"), str(directory / "work")
        os.mkdir(self.images)
        os.mkdir(self.work)
        self.before = victim.verify()
        pids = {victim.pid, *lab.descendants(victim.pid)}
        done = criu("dump", "-t", victim.pid, "-D", self.images, "-o", "dump.log", *self.options())
        assert done.returncode == 0, self.read("images/dump.log")
        victim.wait_for_end(pids)

    @staticmethod
    def options():
        return ("--manage-cgroups=ignore", "-v2")

    def read(self, name):
        with open(os.path.join(self.images, "..", name), encoding="utf-8") as f:
            return f.read()

    def restore(self, *options, lazy=("--lazy-pages",)):
        """CRIU's restore, which is over when the victim runs."""
        command = ("restore", "-d", *lazy, "-D", self.images, "-W", self.work)
        done = criu(*command, "-o", "restore.log", *self.options(), *options)
        assert done.returncode == 0, self.read("work/restore.log")


# ---- pagemaps, by hand ----


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def to_varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def read_pagemap(path):
    """The magic and the header as they are, and the entries as {field: value}."""
    with open(path, "rb") as f:
        data = f.read()
    at, parts = 8, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    entries = []
    for part in parts[1:]:
        entry, at = {}, 0
        while at < len(part):
            key, at = varint(part, at)
            entry[key >> 3], at = varint(part, at)
        entries.append(entry)
    return data[:8], parts[0], entries


def write_pagemap(path, magic, header, entries):
    with open(path, "wb") as f:
        f.write(magic)
        parts = [b"".join(to_varint(k << 3) + to_varint(v) for k, v in e.items()) for e in entries]
        for part in (header, *parts):
            f.write(struct.pack("<I", len(part)) + part)


def pages_file(directory, header):
    return os.path.join(directory, f"pages-{varint(header, 1)[0]}.img")


def pagemaps(directory):
    return [n for n in os.listdir(directory) if n.startswith("pagemap-") and "shmem" not in n]


def runs(entries, length=RUN):
    """Entries cut into runs, each with its place in the pages file."""
    place = 0
    for e in entries:
        for i in range(0, e[PAGES], length if e[FLAGS] & LAZY else e[PAGES]):
            n = min(length, e[PAGES] - i) if e[FLAGS] & LAZY else e[PAGES]
            yield {**e, VADDR: e[VADDR] + i * PAGE, PAGES: n}, place + i
        place += e[PAGES]


def joined(entries):
    """Entries with those that follow on each other made one, as a dump has them."""
    out = []
    for e in entries:
        last = out[-1] if out else None
        if last and last[FLAGS] == e[FLAGS] and last[VADDR] + last[PAGES] * PAGE == e[VADDR]:
            last[PAGES] += e[PAGES]
        else:
            out.append(dict(e))
    return out


def move_to_parent(images, parent, length=RUN, punched=False):
    """As if every other run of lazy pages had not changed since an earlier dump.

    punched: the others were in the earlier dump, too, and deduplication has made holes of them.
    """
    os.mkdir(parent)
    os.symlink(os.path.relpath(parent, images), os.path.join(images, "parent"))
    moved = 0
    for name in pagemaps(images):
        magic, header, entries = read_pagemap(os.path.join(images, name))
        with open(pages_file(images, header), "rb") as f:
            data = f.read()
        maps, pages = ([], []), (bytearray(), bytearray())
        for i, (e, place) in enumerate(runs(entries, length)):
            to = 1 if e[FLAGS] & LAZY and i % 2 else 0
            maps[to].append(e)
            pages[to].extend(data[place * PAGE : (place + e[PAGES]) * PAGE])
            if punched and not to and e[FLAGS] & LAZY:
                maps[1].append(e)
                pages[1].extend(bytes(e[PAGES] * PAGE))
            if to:
                maps[0].append({**e, FLAGS: PARENT})
                moved += e[PAGES]
        for directory, m, p in zip((images, parent), maps, pages, strict=True):
            write_pagemap(os.path.join(directory, name), magic, header, joined(m))
            with open(pages_file(directory, header), "wb") as f:
                f.write(p)
    return moved


def keep_elsewhere(images):
    """As if the lazy pages had stayed with a page server."""
    for name in pagemaps(images):
        path = os.path.join(images, name)
        magic, header, entries = read_pagemap(path)
        entries = [{**e, FLAGS: LAZY} if e[FLAGS] & LAZY else e for e in entries]
        write_pagemap(path, magic, header, entries)


def fields(data):
    """(number, value, where the value's bytes begin and end) of a message of numbers and bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        begin, (value, at) = at, varint(data, at)
        if key & 7 == 2:
            begin, at = at, at + value
            value = data[begin:at]
        yield key >> 3, value, begin, at


def put_in_container(images):
    """As if CRIU had not been in the mount namespace of the tree, but outside of it."""
    path = os.path.join(images, "inventory.img")
    with open(path, "rb") as f:
        data = bytearray(f.read())
    entry, ids, mount_namespace = 8, 3, 9
    for number, value, begin, _ in fields(bytes(data[entry:])):
        if number != ids:
            continue
        for inner, _, at, end in fields(value):
            if inner == mount_namespace:
                assert end == at + 1
                data[entry + begin + at] += 1
    with open(path, "wb") as f:
        f.write(data)
