# SPDX-License-Identifier: GPL-2.0-or-later
"""cache.py DIRECTORY REQUESTS: a redis-server, and the client that keeps it busy.

The server is this program's child and is reached over a Unix socket in the directory, so that both are
checkpointed as one tree. The client fills it, reads and writes mostly a tenth of the keys, prints a
digest of all answers every thousandth request, and at the end how many keys there are.
"""

import hashlib
import os
import random
import subprocess
import sys
import time

import redis

KEYS = 200_000
HOT = range(KEYS * 3 // 10, KEYS * 4 // 10)
VALUE_BYTES = 1000


def value_of(number):
    return hashlib.shake_128(b"frem %d" % number).digest(VALUE_BYTES)


def connect(path):
    client = redis.Redis(unix_socket_path=path, socket_timeout=600)
    for _ in range(1000):
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            time.sleep(0.01)
    sys.exit("redis-server does not answer")


def fill(client):
    for start in range(0, KEYS, 1000):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, start + 1000):
            pipeline.set(b"customer:%07d" % number, value_of(number))
        pipeline.execute()


def work(client, requests):
    rng, digest = random.Random(2008), hashlib.sha256()
    for request in range(1, requests + 1):
        number = rng.choice(HOT) if rng.random() < 0.95 else rng.randrange(KEYS)
        key = b"customer:%07d" % number
        if rng.random() < 0.1:
            client.set(key, value_of(number + request))
        digest.update(client.get(key))
        if request % 1000 == 0:
            print(request, digest.hexdigest(), flush=True)


def main():
    directory, requests = sys.argv[1], int(sys.argv[2])
    path = os.path.join(directory, "socket")
    options = ("--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no")
    command = ["redis-server", *options, "--dir", directory]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = connect(path)
    fill(client)
    print("filled", flush=True)
    work(client, requests)
    print(client.dbsize(), flush=True)
    client.shutdown(nosave=True)
    server.wait()


main()
