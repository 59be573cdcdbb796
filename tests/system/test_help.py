# SPDX-License-Identifier: GPL-2.0-or-later
"""Help and man pages say the same of every command, option by option."""

import json
import os
import re

import pytest

import fremtest
from fremtest import USAGE

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def table():
    """{command: its row}, as the program itself has it; "" is what stands before any command."""
    whole = fremtest.Frem().json("--help")
    rows = {row["name"]: row for row in whole["commands"]}
    rows[""] = {"name": "", "help": "", "options": whole["options"]}
    return rows


TABLE = table() if os.path.exists(fremtest.FREM) else {}
each_command = pytest.mark.parametrize("command", sorted(TABLE))


def forms(option):
    """{"--images-dir", "-D"}"""
    return {"--" + option["name"]} | ({"-" + option["letter"]} if option["letter"] else set())


def forms_of(command):
    return set().union(*(forms(option) for option in TABLE[command]["options"]))


def man_page(command):
    name = f"frem-{command}.1" if command else "frem.1"
    with open(os.path.join(ROOT, "man", name), encoding="utf-8") as f:
        return f.read()


def described(page):
    """The options that have a paragraph of their own in the section OPTIONS."""
    section = re.search(r"^\.SH OPTIONS\n(.*?)^\.SH ", page, re.M | re.S)
    heads = re.findall(r"^\.T[PQ]\n(.*)$", section.group(1) if section else "", re.M)
    plain = " ".join(heads).replace("\\-", "-").replace("\\~", " ")
    plain = re.sub(r"\\f[A-Z]", " ", plain)
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*|(?<![\w-])-[A-Z]", plain))


@each_command
def test_the_man_page_describes_exactly_the_options(command):
    assert described(man_page(command)) - {"-v"} == forms_of(command) - {"-v"}


@each_command
def test_the_man_page_names_every_word(command):
    text = man_page(command).replace("\\-", "-")
    for option in TABLE[command]["options"]:
        for word in option["words"]:
            assert word in text, f"--{option['name']} {word}"


@each_command
def test_help_shows_every_option(frem, command):
    shown = frem.run(*([command] if command else []), "--help").out
    for option in TABLE[command]["options"] + TABLE[""]["options"]:
        left = re.search(rf"^  (-\w, )?--{option['name']}( (\S+))?( |$)", shown, re.M)
        assert left, option["name"]
        assert (left.group(1) or "").strip("-, ") == option["letter"]
        assert left.group(3) == option["value"]
        assert option["help"].split("\n")[0] in shown


@pytest.mark.parametrize("command", sorted(set(TABLE) - {""}))
def test_every_option_is_understood(frem, command):
    """A wrong one behind it is what is complained of; so are flags turned off."""
    for option in TABLE[command]["options"]:
        if option["kind"] == "none":
            spellings = [[form] for form in forms(option)] + [[f"--no-{option['name']}"]]
        else:
            spellings = [[f"--{option['name']}={a_value(option)}"]]
        for spelling in spellings:
            error = frem.refuse(USAGE, command, *spelling, "--nonsense")
            assert "'--nonsense'" in error, error


def a_value(option):
    values = {
        "duration": "10s",
        "rate": "7MB/s",
        "size": "7MB",
        "number": "1",
        "pid": "1",
        "name": "job",
    }
    return option["words"][0] if option["words"] else values.get(option["kind"], "7MB/s")


def test_help_of_one_command_as_json(frem):
    row = frem.json("restart", "--help")
    assert row == TABLE["restart"]
    assert row["operands"] == ["checkpoint"]
    resume = next(o for o in row["options"] if o["name"] == "resume")
    assert resume["words"] == ["now", "touch-set", "full"]


def test_every_command_fails_in_json(frem):
    """Whatever the command, an error is an object with the exit code in it."""
    for command in sorted(set(TABLE) - {""}):
        for arguments in ([command, "--nonsense"], [command, "a", "b", "c", "--pid", "x"]):
            result = frem.run("--json", *arguments, "--config-file", "/dev/null", code=USAGE)
            error = result.json()["error"]
            assert error["code"] == USAGE and f"frem: {error['text']}" == result.error(), command


def test_the_overview_names_every_command():
    page = man_page("").replace("\\-", "-")
    for command in set(TABLE) - {""}:
        assert page.count(f"frem-{command} (1)") >= 2, f"{command}: in COMMANDS and in SEE ALSO"


def test_every_page_is_installed():
    """Those in man/, no fewer."""
    with open(os.path.join(fremtest.BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
        installed = {os.path.basename(path) for path in json.load(f)}
    assert set(os.listdir(os.path.join(ROOT, "man"))) <= installed
    assert {"_frem", "frem"} <= installed
