# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion in a real bash and a real zsh: commands, options, words, names, pids."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest

import fremtest
from test_cli import Checkpoints
from test_help import TABLE

BIN = os.path.dirname(fremtest.FREM)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Checkpoints(str(tmp_path_factory.mktemp("completion") / "store"))
    for name, seq in (("job", 1), ("job", 2), ("other", 1), ("with blank", 1)):
        made.add(name, seq)
    return made.path


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FREM_STORE")}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def in_bash(line, breaks=None, **more):
    """What bash offers behind the line; breaks: another COMP_WORDBREAKS than bash has itself."""
    words = line.split() + ([""] if line.endswith(" ") else [])
    script = f"""
        {f"COMP_WORDBREAKS={breaks!r}" if breaks is not None else ":"}
        source <(frem completion bash)
        COMP_WORDS=("${{@:2}}") COMP_LINE=$1 COMP_POINT=${{#1}} COMP_CWORD=$(($# - 2))
        $(complete -p frem | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", line, *words],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def test_bash_offers_commands():
    assert in_bash("frem ") == set(TABLE) - {""} | {"help"}
    assert in_bash("frem che") == {"check", "checkpoint"}
    assert in_bash("frem --store /x --json re") >= {"restart", "remove"}
    assert in_bash("frem help res") == {"restart"}


@pytest.mark.parametrize("command", sorted(set(TABLE) - {""}))
def test_bash_offers_exactly_the_options(command):
    expected = {"--" + o["name"] for o in TABLE[command]["options"] + TABLE[""]["options"]}
    assert in_bash(f"frem {command} --") == expected


@pytest.mark.parametrize("command", sorted(TABLE))
def test_bash_offers_the_words(command):
    for option in TABLE[command]["options"]:
        if option["words"]:
            assert in_bash(f"frem {command} --{option['name']} ") >= set(option["words"])
            assert in_bash(f"frem {command} --{option['name']}=") >= set(option["words"])
            first = option["words"][0]
            assert first in in_bash(f"frem {command} --{option['name']}={first[:2]}")
            whole = f"--{option['name']}={first}"
            assert whole in in_bash(f"frem {command} {whole[:-1]}", breaks=" \t\n")


def test_bash_offers_names_of_the_store(store):
    all_of_them = {"job", "job@1", "job@2", "other", "other@1", r"with\ blank", r"with\ blank@1"}
    assert in_bash("frem restart ", FREM_STORE=store) == all_of_them
    assert in_bash(f"frem --store {store} show j") == {"job", "job@1", "job@2"}
    assert in_bash(f"frem show --store={store} --json o") == {"other", "other@1"}
    assert in_bash("frem show job@", FREM_STORE=store) == {"1", "2"}
    assert in_bash("frem show job@", breaks=" \t\n", FREM_STORE=store) == {"job@1", "job@2"}
    assert in_bash("frem list ", FREM_STORE=store) == {"job", "other", r"with\ blank"}
    assert in_bash("frem remove job@1 ot", FREM_STORE=store) == {"other", "other@1"}
    assert in_bash("frem checkpoint --name j", FREM_STORE=store) == {"job"}


def test_a_store_that_is_not_there_is_silent_and_quick():
    began = time.monotonic()
    assert in_bash("frem restart ") == set()
    assert in_bash("frem restart --store http://127.0.0.1:1 ") == set()
    assert in_bash("frem restart --store /nowhere ") == set()
    assert time.monotonic() - began < 20


def test_bash_offers_pids_and_files(tmp_path):
    assert str(os.getpid()) in in_bash("frem checkpoint --pid ")
    (tmp_path / "stats.json").touch()
    (tmp_path / "stats.d").mkdir()
    here = f"{tmp_path}/stats"
    assert in_bash(f"frem restart job --stats {here}") == {here + ".json", here + ".d"}
    assert in_bash(f"frem serve --root {here}") == {here + ".d"}


# ---- zsh ----


# compadd is what every completion ends in: what it would add is written down; and so is
# what the line has become, when it is over.
ZSH_SET_UP = """
PS1= LISTMAX=10000
unsetopt prompt_cr prompt_sp
fpath=({directory} $fpath)
autoload -U compinit && compinit -u -D
compadd() {{
	local -a __offered
	[[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]] && {{ builtin compadd "$@"; return; }}
	builtin compadd -O __offered "$@"
	print -rl -- $__offered >>{directory}/found
	builtin compadd "$@"
}}
ended() {{ print -r -- "=$BUFFER=" >{directory}/ended.new; mv {directory}/ended{{.new,}}; }}
list() {{ zle list-choices; ended; }}
complete() {{ zle complete-word; ended; }}
zle -N list
zle -N complete
bindkey '^D' list '^T' complete
print set up
"""


class Zsh:
    """An interactive zsh on a terminal of its own, with the completion loaded."""

    def __init__(self, directory, **more):
        self.directory = directory
        script = subprocess.check_output([fremtest.FREM, "completion", "zsh"])
        (directory / "_frem").write_bytes(script)
        (directory / "setup").write_text(ZSH_SET_UP.format(directory=directory))
        self.fd, terminal = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "-c", "zsh", "-fi"],
            env=environment(TERM="xterm", **more),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        self.send(f"source {directory}/setup\n")
        line_editor = b"\x1b[?2004h"  # its first sign; before it, keys are the terminal's
        self.wait(lambda shown: line_editor in shown.partition(b"\nset up")[2])

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self, over, seconds=30):
        """Reads what is shown until over(all of it)."""
        shown, end = b"", time.monotonic() + seconds
        while not over(shown):
            assert time.monotonic() < end, shown
            if select.select([self.fd], [], [], 0.02)[0]:
                shown += os.read(self.fd, 65536)

    def after(self, keys):
        """What was offered for these keys, and the line that they led to."""
        found, ended = self.directory / "found", self.directory / "ended"
        found.write_text("")
        self.send("\x15" + keys)
        self.wait(lambda _: ended.exists())
        line = ended.read_text().strip("\n=")
        ended.unlink()
        return set(found.read_text().split("\n")) - {""}, line

    def offers(self, line):
        return self.after(line + "\x04")[0]

    def completes(self, line):
        return self.after(line + "\x14")[1].rstrip()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture(scope="module")
def zsh(store, tmp_path_factory):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    shell = Zsh(tmp_path_factory.mktemp("zsh"), FREM_STORE=store)
    yield shell
    shell.close()


def test_zsh_completes(zsh):
    assert zsh.offers("frem ") >= set(TABLE) - {""}
    assert zsh.completes("frem checkp") == "frem checkpoint"
    assert zsh.completes("frem restart --resu") == "frem restart --resume"
    assert zsh.completes("frem restart --resume=to") == "frem restart --resume=touch-set"
    assert zsh.completes("frem restart --resume fu") == "frem restart --resume full"
    assert zsh.completes("frem --json restart --det") == "frem --json restart --detach"
    assert zsh.completes("frem remove job@1 oth") == "frem remove job@1 other"
    assert zsh.offers("frem show ") >= {"job", "job@1", "job@2", "with blank@1"}
    assert zsh.offers("frem list ") == {"job", "other", "with blank"}
    assert str(os.getpid()) in zsh.offers("frem checkpoint --pid ")


@pytest.mark.parametrize("command", sorted(set(TABLE) - {""}))
def test_zsh_offers_exactly_the_options(zsh, command):
    expected = {"--" + o["name"] for o in TABLE[command]["options"] + TABLE[""]["options"]}
    assert {o.split("=")[0] for o in zsh.offers(f"frem {command} --")} == expected
