# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the system tests. They run as root, one after the other."""

import os
import shutil
import tempfile

import pytest

import fremtest
import lab


def cannot_run():
    """Why this machine cannot run the system tests, or None."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists(fremtest.FREM):
        return f"{fremtest.FREM} is not built"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    return None


@pytest.fixture(autouse=True, scope="session")
def run_directory():
    """Run directories of our own, so that those of others are not taken for leaks."""
    lab.become_subreaper()
    if os.geteuid() == 0:
        lab.sweep_namespaces()
    directory = tempfile.mkdtemp(prefix=f"fremtest-{os.getpid()}-", dir="/var/tmp")
    os.environ["FREM_RUN_DIR"] = directory
    os.environ["FREM_CONFIG"] = "/dev/null"  # not what this machine's user likes
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def pytest_collection_modifyitems(items):
    why = cannot_run()
    for item in items:
        if why and "tests/system" in str(item.fspath):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(autouse=True)
def leakcheck():
    """Fails the test that leaves a process, mount, namespace, directory, socket or rule behind."""
    leaks = fremtest.Leaks()
    yield leaks
    found = leaks.settle()
    leaks.clean(found)
    assert not found, f"left behind: {found}"


@pytest.fixture
def store_dir(tmp_path):
    directory = tmp_path / "store"
    directory.mkdir()
    return str(directory)


@pytest.fixture
def served_store(store_dir, leakcheck):
    """`frem serve` of store_dir on the loopback: .url, .root, .process."""
    with lab.Served(store_dir) as served:
        yield served


@pytest.fixture
def frem(leakcheck):
    """frem without a store; frem.at(url) is one with."""
    runner = fremtest.Frem()
    yield runner
    runner.close()


@pytest.fixture
def stored(frem, served_store):
    """frem with a store served on the loopback."""
    return frem.at(served_store.url)


@pytest.fixture
def hosts(leakcheck):
    """hosts(rtt_ms, megabytes_per_s): two network namespaces and the link between them."""
    made = []

    def make(rtt_ms, megabytes_per_s):
        made.append(lab.Hosts(rtt_ms, megabytes_per_s))
        return made[-1]

    yield make
    for both in made:
        both.close()


@pytest.fixture
def victim(tmp_path, leakcheck):
    """victim(NAME, ARGUMENTS...): starts a program of victims/ and waits until it is ready."""
    made = []

    def start(name, *arguments, **options):
        directory = tmp_path / f"victim{len(made)}"
        directory.mkdir()
        command = [fremtest.program(name), "STATUS", *arguments]
        if name.endswith(".py"):
            script = os.path.join(os.path.dirname(__file__), "victims", name)
            command = ["/usr/bin/python3", script, "STATUS", *arguments]
        made.append(fremtest.Victim(str(directory), command, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()
