# SPDX-License-Identifier: GPL-2.0-or-later
"""Defaults from configuration files: which value wins, and errors that name file and line."""

import os
import re
import subprocess

import pytest

from fremtest import FAILED, FREM, STORE, UNABLE, USAGE, Frem

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GONE = "http://127.0.0.1:1"


class Configured:
    """frem with a user's configuration file and nothing else."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "frem", "frem.conf")
        os.makedirs(os.path.dirname(self.path))
        self.frem = Frem(environment={"XDG_CONFIG_HOME": str(directory), "FREM_CONFIG": ""})

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(text)

    def at(self, **environment):
        return self.frem.at(**environment)


@pytest.fixture
def configured(tmp_path, leakcheck):
    it = Configured(tmp_path / "config")
    yield it
    it.frem.close()


@pytest.fixture
def empty_store(store_dir):
    return store_dir


def test_command_line_over_environment_over_file(configured, empty_store):
    configured.write(f"store = {GONE}\nstore-timeout = 0\n")
    assert GONE in configured.frem.refuse(STORE, "list")
    assert configured.at(FREM_STORE=empty_store).json("list") == []
    other = configured.at(FREM_STORE=GONE)
    assert other.json("list", "--store", empty_store) == []
    configured.write(f"store = {empty_store}\n")
    assert configured.frem.json("list") == []
    assert GONE in configured.at(FREM_STORE=GONE).refuse(STORE, "list", "--store-timeout=0")


def test_replicas_and_a_section_of_its_own(configured, empty_store):
    text = f"store = {GONE}\nstore = {GONE}/b\nstore-timeout=0\n[list]\nstore = {empty_store}\n"
    configured.write(text)
    assert configured.frem.json("list") == []
    error = configured.frem.refuse(STORE, "show", "job")
    assert GONE in error


def test_flags_are_turned_on_and_off(configured, empty_store):
    configured.write(f"# a comment\nstore = {empty_store} ; another\njson = yes\n")
    assert configured.frem.run("list").out == "[]\n"
    assert configured.frem.run("list", "--no-json").out == ""
    configured.write(f"store = {empty_store}\n[remove]\nall = on\n")
    assert "'job@1'" in configured.frem.refuse(USAGE, "remove", "job@1")  # a name is wanted
    assert "'job' is a name" in configured.frem.refuse(USAGE, "remove", "--no-all", "job")


def test_options_of_a_command(configured):
    """A value that only the command itself can refuse is told with its line, too."""
    configured.write("\n[restart]\nrecord = 2h\n")
    error = configured.frem.refuse(USAGE, "restart", "job", "--store", "/nonexistent")
    assert f"{configured.path}:3: --record '2h'" in error
    error = configured.frem.refuse(USAGE, "show", "a/b", "--store", "/nonexistent")
    assert configured.path not in error


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("stroe = x", 1, "unknown key 'stroe'"),
        ("\n[restrt]\ndetach = yes", 3, "unknown section '[restrt]'"),
        ("[restart]\nwindow = 1s", 2, "unknown key 'window' in section '[restart]'"),
        ("pid = 1", 1, "unknown key 'pid'"),
        ("[checkpoint]\npid = 1", 2, "unknown key 'pid'"),
        ("help = yes", 1, "unknown key 'help'"),
        ("json = maybe", 1, "json: 'maybe': neither yes nor no"),
        ("store-timeout = soon", 1, "store-timeout: bad duration 'soon'"),
        ("[restart]\nresume = later", 2, "resume: 'later': not one of now|touch-set|full"),
        ("[checkpoint]\nwindow = off\nlink = 7", 3, "link: bad rate '7'"),
        ("[checkpoint]\nwindow = 1s\nwindow = 2s", 3, "window: a second time"),
        ("store =", 1, "store: a value is missing"),
        ("# x\nstore", 2, "neither '[COMMAND]' nor 'KEY = VALUE'"),
        ("[list\n", 1, "neither '[COMMAND]' nor 'KEY = VALUE'"),
        ("run-dir = /" + "x" * 200, 1, "longer than 198 characters"),
    ],
)
def test_errors_name_file_and_line(configured, text, line, words):
    configured.write(text)
    result = configured.frem.run("check", "--json", code=USAGE)
    assert f"frem: {configured.path}:{line}: " in result.error() and words in result.error()
    assert result.json()["error"]["code"] == USAGE
    configured.frem.run("--help")
    configured.frem.run("--version")


def test_the_file_that_is_named_is_read_alone(configured, tmp_path, empty_store):
    configured.write("nonsense")
    named = tmp_path / "named.conf"
    named.write_text(f"store = {empty_store}\n")
    assert configured.frem.json("list", "--config-file", named) == []
    assert configured.at(FREM_CONFIG=str(named)).json("list") == []
    assert "nowhere" in configured.frem.refuse(FAILED, "list", "--config-file", "/nowhere")


def test_check_and_verbose_say_what_was_read(configured):
    configured.write("run-dir = /proc/nowhere\n")
    at = configured.at(FREM_RUN_DIR="")
    result = at.run("check", "--json", "-v", code=UNABLE)
    found = {check["name"]: check["text"] for check in result.json()["checks"]}
    assert configured.path in found["configuration"]
    assert "/proc/nowhere" in found["run directory"]
    assert f"read the configuration '{configured.path}'" in result.err
    assert "/nowhere" not in at.run("check", "--run-dir", "/proc/other", code=UNABLE).out


def test_another_users_file_is_not_trusted(configured, empty_store):
    configured.write(f"store = {empty_store}\n")
    os.chown(configured.path, 65534, 65534)
    result = configured.frem.run("list", code=USAGE)
    assert "belongs to another user, ignoring it" in result.err
    assert "no store given" in result.error()


def test_a_home_that_cannot_be_reached_does_not_matter(configured):
    """As where the environment is still that of the user who was before."""
    configured.write("nonsense")
    os.chmod(os.path.dirname(configured.path), 0o700)
    if subprocess.run(["test", "-x", FREM], user=65534, check=False).returncode:
        pytest.skip("nobody cannot reach the program")
    numbers = "--mtbf 1h --interval 1m --link 7MB/s --image 1GB --touch 10MB".split()
    result = configured.frem.run("-v", "plan", *numbers, user=65534)
    assert "cannot be read, ignoring it" in result.err


def examples():
    """The manual page's, and the one that is installed with all that is commented out in it."""
    with open(os.path.join(ROOT, "man", "frem.conf.5"), encoding="utf-8") as f:
        text = re.search(r"^\.EX\n(.*?)^\.EE", f.read(), re.M | re.S).group(1)
    yield text.replace("\\-", "-")
    with open(os.path.join(ROOT, "packaging", "frem.conf"), encoding="utf-8") as f:
        yield re.sub(r"^#(?=\S)", "", f.read(), flags=re.M)


@pytest.mark.parametrize("example", examples())
def test_examples_are_right(configured, example):
    assert example.count(" = ") >= 4
    configured.write(example)
    assert "--no-such-option" in configured.frem.refuse(USAGE, "list", "--no-such-option")


# ---- how much is said ----


@pytest.mark.parametrize(
    "options, said",
    [
        ([], {"notice"}),
        (["-q"], set()),
        (["--log-level", "warning"], set()),
        (["-v"], {"notice", "info"}),
        (["--log-level=info"], {"notice", "info"}),
        (["-q", "-v"], {"notice"}),
        (["-vv", "-qq"], {"notice"}),
    ],
)
def test_log_levels(configured, empty_store, options, said):
    configured.write("")
    server = configured.frem.start(
        *options, "--json", "serve", "--root", empty_store, "--listen", "127.0.0.1:0"
    )
    assert server.stdout.readline() == b"{\n"
    server.terminate()
    err = server.communicate(timeout=10)[1].decode()
    seen = {"notice"} if "serving " in err else set()
    seen |= {"info"} if "read the configuration" in err else set()
    assert seen == said


def test_warnings_are_not_said_where_errors_alone_are_wanted(configured, empty_store):
    configured.write("")
    os.chown(configured.path, 65534, 65534)
    for options, warned in ((["-q"], True), (["-qq"], False), (["--log-level=error"], False)):
        result = configured.frem.run("list", "--store", empty_store, *options)
        assert ("ignoring it" in result.err) == warned


def test_levels_and_colours_are_checked(configured):
    assert "--log-level: 'loud'" in configured.frem.refuse(USAGE, "check", "--log-level", "loud")
    assert "--color: 'red'" in configured.frem.refuse(USAGE, "check", "--color", "red")
    red = "\x1b[31m"
    assert red in configured.frem.run("nothing", "--color=always", code=USAGE).err
    assert red not in configured.frem.run("nothing", code=USAGE).err
