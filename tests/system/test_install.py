# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian package, and what is in it: tried from a directory that it is unpacked to."""

import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from fremtest import CRIU, is_alive, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = ("frem-serve.service", "frem-job@.service")
CHECKPOINTED = 85
EXPOSURE_MOST = 2.0  # of 10, as systemd counts


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The built package, and the root of a file system with nothing else in it."""
    if not shutil.which("dh"):
        pytest.skip("debhelper is not installed: scripts/setup PREFIX deb installs it")
    directory = tmp_path_factory.mktemp("deb")
    # what is asked here does not depend on how well the compiler did
    environment = {**os.environ, "DEB_BUILD_OPTIONS": "noopt nostrip"}
    output(os.path.join(ROOT, "scripts", "deb"), str(directory), env=environment, timeout=600)
    (deb,) = directory.glob("*.deb")
    root = directory / "root"
    output("dpkg-deb", "-x", str(deb), str(root))
    return str(deb), str(root)


def unit(root, name):
    """{key: [values]} of a unit; its program is the one that was unpacked."""
    with open(os.path.join(root, "lib/systemd/system", name), encoding="utf-8") as f:
        lines = re.findall(r"^(\w+)=(.*)$", f.read(), re.M)
    found = {}
    for key, value in lines:
        found.setdefault(key, []).append(value)
    return found


def exec_start(root, name, instance, environment):
    """The command line, as systemd makes it: ${V} is one word, $V as many as it has."""
    (line,) = unit(root, name)["ExecStart"]
    command = []
    for word in shlex.split(line.replace("%i", instance)):
        whole = re.fullmatch(r"\$(\w+)", word)
        if whole:
            command += shlex.split(environment[whole.group(1)])
        else:
            command.append(re.sub(r"\$\{(\w+)\}", lambda m: environment[m.group(1)], word))
    assert command[0] == "/usr/bin/frem"
    return command[1:]


@pytest.fixture
def installed(package, frem, monkeypatch):
    """frem, as the package has it."""
    monkeypatch.setattr("fremtest.FREM", os.path.join(package[1], "usr/bin/frem"))
    monkeypatch.setenv("FREM_CRIU", os.environ.get("FREM_CRIU", CRIU))  # the package has none
    return frem


def test_package(package, installed):
    """Its version, what it depends on, and that nothing that `meson install` has is missing."""
    deb, root = package
    version = output("dpkg-deb", "-f", deb, "Version").strip()
    assert installed.run("--version").out.split()[:2] == ["frem", version]
    depends = output("dpkg-deb", "-f", deb, "Depends")
    for library in ("libc6", "libbpf1", "libcurl", "libmicrohttpd", "libzstd1", "libarchive13"):
        assert library in depends
    assert "criu (>= 4.2)" in output("dpkg-deb", "-f", deb, "Recommends")
    there = {os.path.join(d, f)[len(root) :] for d, _, files in os.walk(root) for f in files}
    pages = {n for n in os.listdir(os.path.join(ROOT, "man")) if n[-1].isdigit()}
    assert pages == {os.path.basename(p)[:-3] for p in there if "/man/" in p}
    assert {f"/lib/systemd/system/{u}" for u in UNITS} < there
    assert "/usr/share/bash-completion/completions/frem" in there
    assert "/usr/share/doc/frem/examples/frem.conf" in there
    assert os.access(os.path.join(root, "usr/libexec/frem/get-criu"), os.X_OK)
    assert not any("/build" in p or "/tests" in p for p in there)


def test_man_pages(package):
    """`man frem`, and each command's page, as they are installed."""
    pages = os.path.join(package[1], "usr/share/man/man1")
    for name in os.listdir(pages):
        with gzip.open(os.path.join(pages, name), "rb") as f:
            page = f.read()
        text = subprocess.run(
            ["groff", "-man", "-Tascii", "-P-cbou", "-ww"], input=page, capture_output=True, check=True
        )
        assert not text.stderr and b"SYNOPSIS" in text.stdout, name


def test_example_configuration(package, installed, tmp_path):
    """Each default of the example is one that frem knows."""
    path = os.path.join(package[1], "usr/share/doc/frem/examples/frem.conf")
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"^#(?=[\[\w-]+(\]| =))", "", f.read(), flags=re.M)
    assert "\n[restart]\n" in text and "\nstore = " in text
    (tmp_path / "frem.conf").write_text(text)
    installed.run("--config-file", tmp_path / "frem.conf", "list", "--help")
    installed.at(tmp_path).run("--config-file", tmp_path / "frem.conf", "list")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_units(package, tmp_path):
    """systemd has nothing against them, and the server's is shut in well."""
    root = package[1]
    for name in UNITS:
        with open(os.path.join(root, "lib/systemd/system", name), encoding="utf-8") as f:
            text = f.read().replace("/usr/bin/frem", os.path.join(root, "usr/bin/frem"))
        (tmp_path / name).write_text(text)
        output("systemd-analyze", "verify", "--man=no", str(tmp_path / name))
    said = output(
        "systemd-analyze", "security", "--offline=true", str(tmp_path / "frem-serve.service")
    )
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said).group(1))
    print(f"exposure of frem-serve.service: {exposure}")
    assert exposure <= EXPOSURE_MOST


def test_server_unit(package, installed, tmp_path):
    """What the unit starts serves the directory that systemd makes for it."""
    environment = {"STATE_DIRECTORY": str(tmp_path), "FREM_LISTEN": "127.0.0.1:0"}
    command = exec_start(package[1], "frem-serve.service", "", environment)
    process = installed.start("--json", *command)
    answer = b"".join(iter(process.stdout.readline, b"}\n")) + b"}"
    url = json.loads(answer)["url"]
    assert installed.at(url).json("list") == []
    process.send_signal(signal.SIGTERM)
    assert installed.finish(process).code == 0


def test_job_unit(package, installed, tmp_path):
    """Stopped as systemd stops it, the job is checkpointed; started again, it goes on from there."""
    example = os.path.join(package[1], "usr/share/doc/frem/examples/job.env")
    with open(example, encoding="utf-8") as f:
        environment = dict(re.findall(r"^(\w+)=(.*)$", f.read(), re.M))
    assert environment["FREM_STORE"].startswith("http://")
    out = tmp_path / "out"
    count = f"i=0; while sleep 0.1; do i=$((i + 1)); echo $i >>{out}; done"
    environment["FREM_JOB"] = f"/bin/sh -c {shlex.quote(count)}"
    command = exec_start(package[1], "frem-job@.service", "count", environment)
    there = installed.at(str(tmp_path / "store"))
    os.mkdir(tmp_path / "store")
    keys = unit(package[1], "frem-job@.service")
    assert keys["KillMode"] == ["mixed"] and keys["KillSignal"] == ["SIGTERM"]
    assert keys["SuccessExitStatus"] == [str(CHECKPOINTED)]

    for lines in (3, 6):
        process = there.start(*command)

        def counted(lines=lines):
            assert process.poll() is None, there.finish(process)
            return out.exists() and len(out.read_text().split()) >= lines

        wait_until("the job to count", counted, 60)
        process.send_signal(signal.SIGTERM)
        assert there.finish(process).code == CHECKPOINTED
    assert not is_alive(process.pid)
    numbers = [int(n) for n in out.read_text().split()]
    assert numbers == list(range(1, len(numbers) + 1))
