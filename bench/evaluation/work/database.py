# SPDX-License-Identifier: GPL-2.0-or-later
"""database.py DIRECTORY ROUNDS PRELOAD: PostgreSQL, and pgbench that keeps it busy with lookups.

The server is this program's child and is reached over a Unix socket in the directory, so that all is
checkpointed as one tree. Nothing writes to its files while pgbench runs: files are not in a checkpoint.
PRELOAD lets it run as root.

Prints how many transactions each round of pgbench has made, and a digest of a part of the table.
"""

import glob
import os
import signal
import subprocess
import sys
import time

SCALE, ROWS = 15, 100_000
USER = "postgres"
NOBODY = 65534  # who PostgreSQL believes to be
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "autovacuum": "off",
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1d",
    "huge_pages": "off",
    "jit": "off",
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
}


def tool(name):
    return sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))[-1]


def query(directory, text):
    command = [tool("psql"), "-h", directory, "-U", USER, "-XAtq", "-c", text, "postgres"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


def start(directory, preload):
    data = os.path.join(directory, "data")
    os.mkdir(data, 0o700)
    os.chown(data, NOBODY, NOBODY)
    environment = {**os.environ, "LD_PRELOAD": preload}
    command = [tool("initdb"), "-D", data, "-U", USER, "-A", "trust", "--no-sync", "--no-locale"]
    subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=True)
    settings = [x for k, v in SETTINGS.items() for x in ("-c", f"{k}={v}")]
    with open(os.path.join(directory, "log"), "ab") as log:
        server = subprocess.Popen(
            [tool("postgres"), "-D", data, "-k", directory, *settings], stderr=log, env=environment
        )
    for _ in range(600):
        if query(directory, "select 1") == "1":
            return server
        time.sleep(0.1)
    sys.exit("PostgreSQL does not answer")


def main():
    directory, rounds = sys.argv[1], int(sys.argv[2])
    server = start(directory, sys.argv[3])
    pgbench = [tool("pgbench"), "-h", directory, "-U", USER, "-n"]
    subprocess.run([*pgbench, "-i", "-q", "-s", str(SCALE), "postgres"], check=True, stderr=2)
    query(directory, "vacuum (freeze, analyze)")
    query(directory, "checkpoint")
    print("filled", flush=True)
    for number in range(rounds):
        command = [*pgbench, "-S", "-t", "4000", f"--random-seed={number}", "postgres"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        made = next(line for line in done.splitlines() if "actually processed" in line)
        first = number * 7919 * 13 % (SCALE * ROWS)
        part = f"select * from pgbench_accounts where aid between {first} and {first + 2000} order by aid"
        digest = query(directory, f"select md5(string_agg(a::text, ',')) from ({part}) a")
        print(number, made, digest, flush=True)
    # as a crash would: an orderly end would write to the files that the next restart goes on with
    server.send_signal(signal.SIGKILL)
    server.wait()


main()
