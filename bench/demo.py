# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo: what a fast restart gains, shown with redis-server and a slow network.

Two hosts (network namespaces) are joined by a link of 200 ms round trip and 7 MB/s. One holds the
store; on the other runs redis-server with 500 MB, used by a client. redis is checkpointed into the
store while it answers, killed, and restarted from there in each of frem's three resume modes.
Every value that comes back is verified. Leaves nothing behind, however it ends.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import lab

REQUESTS = 2000
MODES = {
    "full": "fetch everything, then resume: what a restart is without frem",
    "touch-set": "fetch what was in use, then resume; the rest follows",
    "now": "resume at once; memory comes in the order in which it is asked for",
}
SPARE_SECONDS = 170  # for the slowest step, a fetch of everything


class Screen:
    """Plain lines; where there is a terminal, also one line that is written over."""

    def __init__(self):
        self.terminal = sys.stdout.isatty()
        self.shown = False
        self.start = time.monotonic()

    def say(self, text=""):
        self.clear()
        print(text, flush=True)

    def step(self, text):
        self.say(f"[{time.monotonic() - self.start:4.0f} s] {text}")

    def progress(self, text):
        if self.terminal:
            print(f"\r\x1b[K         {text}", end="", flush=True)
            self.shown = True

    def clear(self):
        if self.shown:
            print("\r\x1b[K", end="", flush=True)
            self.shown = False


class Demo:
    """The two hosts and what runs on them."""

    def __init__(self, screen, directory, undo):
        self.screen, self.undo = screen, undo
        self.store = os.path.join(directory, "store")
        self.directory = directory
        rtt, rate = lab.SLOW
        screen.step(f"joining two hosts by a link: {rtt} ms round trip, {rate} MB/s")
        self.hosts = undo.enter_context(lab.Hosts(rtt, rate))
        self.served = undo.enter_context(lab.Served(self.store, self.hosts.ip_a, self.hosts.a))
        screen.say(f"         host A holds the store: frem serve at {self.served.url}")
        self.redis = lab.Redis(os.path.join(directory, "redis"), self.hosts.b)
        undo.callback(self.kill_redis)

    def kill_redis(self):
        if self.redis.pid in lab.processes():
            lab.kill_tree(self.redis.pid)

    def frem(self, *arguments, **options):
        """Starts frem on host B."""
        command = [lab.FREM, "--store", self.served.url, *arguments]
        process = subprocess.Popen(
            lab.within(self.hosts.b, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **options,
        )
        self.undo.callback(self.end, process)
        return process

    @staticmethod
    def end(process):
        """Asks first: frem then takes back what it has begun."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        lab.end_process(process)

    def check(self, process, wanted=0):
        """Waits for frem's end; returns what it printed."""
        out, err = process.communicate(timeout=SPARE_SECONDS)
        if process.returncode != wanted:
            raise lab.LabError(err.decode(errors="replace").strip() or "frem failed")
        return out.decode()

    def fill(self):
        self.screen.step("host B runs redis-server; filling it with 500 MB")
        self.redis.load(
            progress=lambda n: self.screen.progress(f"{100 * n // lab.KEYS} % of {lab.KEYS} keys")
        )

    def checkpoint(self):
        """Under load, which it must not disturb."""
        self.screen.step("a client reads a tenth of the keys; redis is checkpointed meanwhile")
        load = lab.Load(self.redis)
        failures = []

        def run():
            try:
                load.run(per_second=2000)
            except Exception as e:  # pylint: disable=broad-except
                failures.append(e)

        client = threading.Thread(target=run, daemon=True)
        client.start()
        try:
            lab.wait_until("the client", lambda: load.answered > 100 or failures)
            process = self.frem("checkpoint", "--pid", str(self.redis.pid), "--name", "redis")
            while process.poll() is None:
                sent = lab.received_bytes(self.served.process.pid)
                self.screen.progress(
                    f"{sent / 1e6:.0f} MB sent to the store; {load.answered} requests answered"
                )
                time.sleep(0.25)
            self.check(process)
        finally:
            load.stop = True
            client.join()
        if failures:
            raise failures[0]
        shown = json.loads(self.check(self.frem("--json", "show", "redis")))
        touch = shown["touch"]
        if not touch:
            raise lab.LabError("the checkpoint has no touch set")
        self.screen.say(
            f"         checkpoint {shown['name']}@{shown['seq']}:"
            f" {shown['image_bytes'] / 1e6:.0f} MB of memory; the touch set, which is what redis"
            f" used\n         in the {touch['window_ms'] / 1e3:.0f} s after it, is"
            f" {touch['bytes'] / 1e6:.0f} MB."
            f" The client got {load.answered} right answers meanwhile."
        )

    def wait_for_all_memory(self, process, stats_file):
        start = time.monotonic()
        while not os.path.exists(stats_file):
            if process.poll() is not None:
                self.check(process, None)
            if time.monotonic() > start + SPARE_SECONDS:
                raise lab.LabError("not all memory came in")
            self.screen.progress(f"{time.monotonic() - start:.0f} s until all memory is in")
            time.sleep(0.05)
        with open(stats_file, encoding="utf-8") as f:
            return json.load(f)

    def restart(self, mode):
        """Times count from the start of the command."""
        self.screen.step(f"kill -9, then frem restart --resume {mode}: {MODES[mode]}")
        stats_file = os.path.join(self.directory, f"{mode}.json")
        start = time.monotonic()
        process = self.frem("restart", "redis", "--resume", mode, "--stats", stats_file)
        load = lab.Load(self.redis)
        self.screen.progress("waiting for the first reply")
        try:
            first, last = load.run(REQUESTS, still_wanted=lambda: process.poll() is None)
        except lab.redis.RedisError:
            self.check(process, None)
            raise
        stats = self.wait_for_all_memory(process, stats_file)
        verified = self.redis.verify(range(lab.KEYS))
        row = {
            "first": first - start,
            "load": last - start,
            "all": stats["drained_ms"] / 1e3,
            "bytes": stats["bytes_fetched"],
        }
        self.screen.say(
            f"         first reply after {row['first']:.1f} s, {REQUESTS} after"
            f" {row['load']:.1f} s; all {verified} values verified"
        )
        lab.kill_tree(self.redis.pid)
        self.check(process, 128 + signal.SIGKILL)
        return row


def print_table(screen, rows):
    titles = ("--resume", "first reply", f"{REQUESTS:,} answered", "all memory in", "moved")
    cells = [
        (
            mode,
            f"{row['first']:.1f} s",
            f"{row['load']:.1f} s",
            f"{row['all']:.1f} s",
            f"{row['bytes'] / 1e6:.0f} MB",
        )
        for mode, row in rows.items()
    ]
    widths = [max(map(len, column)) for column in zip(titles, *cells)]
    screen.say()
    for line in (titles, ["-" * w for w in widths], *cells):
        left, *others = (text.rjust(w) for text, w in zip(line, widths))
        screen.say("  " + "  ".join([left.strip().ljust(widths[0]), *others]).rstrip())
    screen.say()
    times = rows["full"]["load"] / rows["now"]["load"]
    screen.say(
        f"With `now`, redis answered its client's first {REQUESTS:,} requests"
        f" {times:.1f} times sooner than with `full`."
    )


def run(screen):
    with contextlib.ExitStack() as undo:
        directory = tempfile.mkdtemp(prefix="frem-demo-", dir="/var/tmp")
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        demo = Demo(screen, directory, undo)
        demo.fill()
        demo.checkpoint()
        demo.redis.kill()
        rows = {mode: demo.restart(mode) for mode in MODES}
        print_table(screen, rows)


def main():
    if os.geteuid() != 0:
        sys.exit("demo: only root can checkpoint and make namespaces")
    lab.interruptible()
    lab.become_subreaper()
    screen = Screen()
    screen.say(
        "frem demo: redis-server is killed on a host whose checkpoints are far away, behind a link\n"
        "of 200 ms and 7 MB/s. How long until its client is served again? About 7 minutes.\n"
    )
    try:
        run(screen)
    except lab.Interrupted as e:
        screen.clear()
        sys.exit(f"demo: ended by {e}, cleaned up")
    except (lab.LabError, lab.WrongValue, lab.redis.RedisError, subprocess.TimeoutExpired) as e:
        screen.clear()
        sys.exit(f"demo: {e}")


main()
