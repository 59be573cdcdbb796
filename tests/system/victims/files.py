# SPDX-License-Identifier: GPL-2.0-or-later
"""files.py STATUS [deleted|linked]: holds files open; at SIGUSR1 it reads and writes all of them.

In its working directory: input (read), data (read and written), log (appended to). "deleted" has one
more without a name, "linked" one that has lost the name that it was opened by, not the other.
"""

import os
import signal
import sys

CONTENT = bytes(range(256)) * 12000  # 3 MB: more than CRIU takes unless asked to


def write_all(path, content):
    with open(path, "wb") as f:
        f.write(content)


class Files:
    def __init__(self, status, more):
        self.status, self.count, self.gone = status, 0, None
        write_all("input", b"input\n")
        write_all("data", b"0\n")
        self.input, self.data = open("input", "rb"), open("data", "r+b")
        self.log = open("log", "ab", buffering=0)
        if more:
            write_all("gone", CONTENT)
            self.gone = open("gone", "r+b", buffering=0)
            if more == "linked":
                os.link("gone", "other")
            os.unlink("gone")

    def complaint(self):
        self.input.seek(0)
        self.data.seek(0)
        if self.input.read() != b"input\n":
            return "input"
        if self.data.readline() != b"%d\n" % self.count:
            return "data"
        if self.gone and os.pread(self.gone.fileno(), 2 * len(CONTENT), 0) != CONTENT:
            return "gone"
        return None

    def answer(self):
        why = self.complaint()
        self.count += 1
        self.log.write(b"line %d\n" % self.count)
        self.data.seek(0)
        self.data.write(b"%d\n" % self.count)
        self.data.flush()
        with open(self.status, "a", encoding="utf-8") as f:
            f.write(f"bad {why}\n" if why else f"ok {self.count}\n")


def main():
    files = Files(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    asked = {signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, asked)  # one that comes before the wait is not lost
    ready = int(os.environ["READY_FD"])
    os.write(ready, b"r")
    os.close(ready)
    while True:
        signal.sigwait(asked)
        files.answer()


main()
