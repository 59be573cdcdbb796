# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: help, usage errors, exit codes, JSON, and the verbs that only look at a store.

The checkpoints are made up here, byte by byte, as docs/format.md says.
"""

import errno
import glob
import http.server
import json
import os
import pty
import shutil
import struct
import subprocess
import threading

import pytest

from fremtest import blake3

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("FREM_BUILD", os.path.join(ROOT, "build"))
FREM = os.path.join(BUILD, "frem")

OK, FAILED, USAGE, UNABLE, NOT_FOUND, DAMAGED, STORE, REFUSED = range(8)
PAGE = 4096


def run(*arguments, **environment):
    """Runs frem, without a store unless the arguments name one."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("FREM_")}
    env.update(environment)
    return subprocess.run(
        [FREM, *map(str, arguments)],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )


def text_of(stream):
    return stream.decode("utf-8")


def check_error(result, code, *words):
    """The exit code, and one line `frem: ...` with these words in it; maybe a hint."""
    lines = text_of(result.stderr).splitlines()
    assert result.returncode == code, (result, lines)
    assert sum(line.startswith("frem: ") for line in lines) == 1, lines
    for word in words:
        assert word in lines[0], (word, lines)
    for line in lines[1:]:
        assert line.startswith(("  ", "hint: ")), lines


# ---- made-up checkpoints ----


def manifest_of(name, seq, **members):
    lazy = members.pop("lazy_pages", 100)
    m = {
        "version": 2,
        "name": name,
        "seq": seq,
        "created": 1700000000,
        "frem_version": "0.1.0",
        "criu_version": "4.2.1",
        "kernel": "6.18.0",
        "arch": "x86_64",
        "page_size": PAGE,
        "tcp": "close",
        "image_bytes": (lazy + 4) * PAGE,
        "lazy_pages": lazy,
        "eager_pages": 4,
        "head": {"size": 200, "digest": "ab" * 32},
        "pages": {"size": 5000, "digest": "cd" * 32},
        "tasks": [
            {"pid": 7, "ppid": 0, "comm": "root task", "threads": 3, "lazy_pages": lazy - 1},
            {"pid": 9, "ppid": 7, "comm": "größe", "threads": 1, "lazy_pages": 1},
        ],
    }
    m.update(members)
    canonical = {"ensure_ascii": False, "separators": (",", ":"), "sort_keys": True}
    m["digest"] = blake3(json.dumps(m, **canonical).encode()).hex()
    return json.dumps(m, **canonical).encode() + b"\n"


def varint(v):
    out = b""
    while v >= 0x80:
        out += bytes([v & 0x7F | 0x80])
        v >>= 7
    return out + bytes([v])


def stored_zstd(data):
    """One zstd frame that holds data uncompressed."""
    assert len(data) < 65536
    header = b"\x28\xb5\x2f\xfd" + bytes([0xA0]) + struct.pack("<I", len(data))
    block = struct.pack("<I", len(data) << 3 | 1)[:3]
    return header + block + data


def touch_of(manifest, pages=3, padding=0):
    """A touch set of the first pages, all of them zero pages."""
    meta = json.dumps(
        {
            "backend": "accessed-bits",
            "ended": "image-arrived",
            "window_ms": 72000,
            "scans": 123,
            "prepare_ms": 0.5,
            "frozen_ms": 1.25,
            "scan_ms": 2,
            "insert_ms": 0.75,
            "overhead_ms": 4.5,
        },
        separators=(",", ":"),
        sort_keys=True,
    ).encode()
    runs = varint(0) + varint(pages) + varint(10 << 1) + varint(0)
    index = b"FREMFIDX" + struct.pack("<IIQ", 2, 0, pages)
    index += struct.pack("<II16x", 0, (1 << pages) - 1)
    raw = struct.pack("<I", len(meta)) + meta + struct.pack("<QQ", 1, len(runs)) + runs + index
    body = stored_zstd(raw)
    header = b"FREMTCH1" + struct.pack("<IIQQ", 3, 0, len(body), len(raw))
    header += blake3(body) + blake3(manifest)
    return header + blake3(header) + body + bytes(padding)


class Checkpoints:
    """A store directory with checkpoints in it."""

    def __init__(self, path):
        self.path = path
        os.mkdir(path)

    def put(self, name, seq, obj, data):
        where = os.path.join(self.path, name, str(seq))
        os.makedirs(where, exist_ok=True)
        with open(os.path.join(where, obj), "wb") as f:
            f.write(data)

    def add(self, name, seq, touch=False, **members):
        manifest = manifest_of(name, seq, **members)
        self.put(name, seq, "head", bytes(200))
        self.put(name, seq, "pages", bytes(5000))
        if touch:
            self.put(name, seq, "touch", touch_of(manifest))
        self.put(name, seq, "manifest", manifest)
        return manifest

    def files(self):
        return sorted(
            os.path.relpath(f, self.path)
            for f in glob.glob(os.path.join(self.path, "*", "*", "*"))
        )


@pytest.fixture
def store(tmp_path):
    return Checkpoints(str(tmp_path / "store"))


# ---- help and usage ----


def verbs():
    """The commands that --help lists."""
    lines = text_of(run("--help").stdout).split("commands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in lines.splitlines()]


def test_version_and_help_go_to_stdout():
    for arguments in (["--version"], ["--help"], ["-h"], ["help"], ["--store", "x", "--help"]):
        result = run(*arguments)
        assert result.returncode == OK
        assert result.stdout.startswith(b"frem")
        assert result.stderr == b""


def test_every_command_has_help():
    names = verbs()
    assert {"check", "list", "show", "remove"} <= set(names)
    for name in names:
        expected = run(name, "--help")
        assert expected.returncode == OK
        assert expected.stderr == b""
        assert expected.stdout.startswith(b"usage: frem ")
        assert f" {name}".encode() in expected.stdout.splitlines()[0]
        assert run("help", name).stdout == expected.stdout
        assert run("--help", name).stdout == expected.stdout
        assert run(name, "--nonsense", "--help").stdout == expected.stdout
        assert max(len(line) for line in expected.stdout.splitlines()) <= 100


def test_every_command_has_a_man_page():
    for name in verbs():
        assert os.path.exists(os.path.join(ROOT, "man", f"frem-{name}.1")), name


@pytest.mark.parametrize("page", sorted(os.listdir(os.path.join(ROOT, "man"))))
def test_man_pages_have_no_warnings(page):
    page = os.path.join(ROOT, "man", page)
    if shutil.which("groff"):
        command = ["groff", "-mandoc", "-Tutf8", "-ww", "-z", page]
    elif shutil.which("mandoc"):
        command = ["mandoc", "-Tlint", "-Wwarning", page]
    else:
        pytest.skip("neither groff nor mandoc is installed")
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["no command"]),
        (["frobnicate"], ["unknown command 'frobnicate'"]),
        (["--frobnicate", "list"], ["unknown option '--frobnicate'"]),
        (["list", "--frobnicate"], ["unknown option '--frobnicate'"]),
        (["list", "-x"], ["unknown option '-x'"]),
        (["list", "a", "b"], ["unexpected argument 'b'"]),
        (["list", "--store"], ["'--store' needs a value"]),
        (["--store=", "list"], ["'--store' needs a value"]),
        (["check", "now"], ["unexpected argument 'now'"]),
        (["show"], ["no NAME"]),
        (["remove"], ["no NAME@N"]),
        (["remove", "--all=1", "a"], ["'--all=1' takes no value"]),
        (["help", "frobnicate"], ["unknown command"]),
        (["list"], ["no store"]),
        (["show", "a"], ["no store"]),
        (["remove", "a@1"], ["no store"]),
    ],
)
def test_usage_errors(arguments, words):
    result = run(*arguments)
    check_error(result, USAGE, *words)
    assert b"\nhint: " in result.stderr
    assert result.stdout == b""


@pytest.mark.parametrize("verb", ["list", "show", "remove"])
@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".a", "-", "a\x01b", "x" * 101, "a@", "a@0", "a@x", "a@1@2", "a@-1"]
)
def test_bad_names(store, verb, name):
    arguments = [verb, "--", name] if name.startswith("-") else [verb, name]
    check_error(run("--store", store.path, *arguments), USAGE)


def test_a_name_that_is_not_utf8(store):
    result = subprocess.run(
        [FREM, "--store", store.path, "--json", "show", b"a\xff"], capture_output=True
    )
    assert result.returncode == USAGE
    assert json.loads(result.stdout)["error"]["code"] == USAGE


def test_global_options_stand_before_and_after_the_command(store):
    store.add("job", 1)
    expected = run("--store", store.path, "--json", "list").stdout
    assert json.loads(expected)[0]["name"] == "job"
    assert run("list", "--json", "--store", store.path).stdout == expected
    assert run("--json", "list", f"--store={store.path}").stdout == expected
    assert run("list", "--json", FREM_STORE=store.path).stdout == expected
    assert run("list", "--json", "--store", store.path, FREM_STORE="/nowhere").stdout == expected
    check_error(run("--store", store.path, "list", "--", "--json"), USAGE)


# ---- errors, machine-readable ----


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["--json"], USAGE),
        (["--json", "frobnicate"], USAGE),
        (["--bad", "list", "--json"], USAGE),
        (["--json", "list", "--bad"], USAGE),
        (["--json", "show", "nothing", "--store", "STORE"], NOT_FOUND),
        (["--json", "show", "nothing@7", "--store", "STORE"], NOT_FOUND),
        (["--json", "remove", "nothing@7", "--store", "STORE"], NOT_FOUND),
        (["--json", "list", "--store", "http://127.0.0.1:1"], STORE),
        (["--json", "list", "--store", "ftp://x"], USAGE),
    ],
)
def test_errors_as_json(store, arguments, code):
    result = run(*[store.path if a == "STORE" else a for a in arguments])
    check_error(result, code)
    error = json.loads(result.stdout)["error"]
    assert error["code"] == code
    assert f"frem: {error['text']}" == text_of(result.stderr).splitlines()[0]
    assert isinstance(error["hint"], str)
    assert isinstance(error["detail"], list)


def test_a_store_that_does_not_answer():
    check_error(run("--store", "http://127.0.0.1:1", "list"), STORE, "127.0.0.1")


def test_unknown_checkpoint_names_the_store(store):
    store.add("job", 1)
    check_error(run("--store", store.path, "show", "job@2"), NOT_FOUND, "'job@2'", store.path)
    check_error(run("--store", store.path, "show", "other"), NOT_FOUND, "'other'", store.path)
    check_error(run("--store", store.path, "remove", "job@2"), NOT_FOUND, "'job@2'")


def test_output_that_cannot_be_written_is_an_error(store):
    store.add("job", 1)
    for command in (["list"], ["list", "--json"], ["show", "job"], ["--help"]):
        with open("/dev/full", "w") as full:
            result = subprocess.run(
                [FREM, "--store", store.path, *command], stdout=full, stderr=subprocess.PIPE
            )
        assert result.returncode == FAILED
        assert result.stderr == b"frem: writing the output: No space left on device\n"


def test_closed_output_is_an_error_and_harms_nothing(store):
    store.add("job", 1)
    before = open(os.path.join(store.path, "job/1/manifest"), "rb").read()
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&-', FREM, "--store", store.path, "list"],
        stderr=subprocess.PIPE,
    )
    assert result.returncode == FAILED
    assert b"frem: writing the output: " in result.stderr
    assert open(os.path.join(store.path, "job/1/manifest"), "rb").read() == before


def test_closed_streams_are_not_taken_by_files(store):
    served = subprocess.Popen(
        ["sh", "-c", 'exec "$0" "$@" <&- 2>&-', FREM]
        + ["--json", "serve", "--root", store.path, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
    )
    with served:
        try:
            assert served.stdout.readline() == b"{\n"
            for fd in (0, 2):
                assert os.readlink(f"/proc/{served.pid}/fd/{fd}") == "/dev/null"
        finally:
            served.terminate()


def test_reader_that_goes_away_is_no_signal(store):
    store.add("job", 1)
    ends = os.pipe()
    os.close(ends[0])
    result = subprocess.run(
        [FREM, "--store", store.path, "list"], stdout=ends[1], stderr=subprocess.PIPE
    )
    os.close(ends[1])
    assert result.returncode == FAILED
    assert os.strerror(errno.EPIPE).encode() in result.stderr


def on_terminal(*arguments, **environment):
    """What frem writes to a terminal that is its stderr."""
    master, slave = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment}
    subprocess.run([FREM, *arguments], stdout=subprocess.PIPE, stderr=slave, env=env)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 4096):
            out += chunk
    except OSError as e:  # how a terminal says that nobody is on its other side
        assert e.errno == errno.EIO
    os.close(master)
    return out


def test_colours_only_on_a_terminal_and_unless_refused():
    assert on_terminal("nothing").startswith(b"\x1b[31mfrem: \x1b[0munknown command")
    assert on_terminal("nothing", NO_COLOR="1").startswith(b"frem: unknown command")
    assert on_terminal("nothing", TERM="dumb").startswith(b"frem: unknown command")
    assert b"\x1b" not in run("nothing").stderr


def test_control_characters_are_not_passed_on():
    assert b"\x1b" not in run("list", "--store", "x", "\x1b[2J").stderr
    assert b"\x1b" not in run("\x1b[2Jnothing").stderr


# ---- list ----


def test_list_of_an_empty_store(store):
    result = run("--store", store.path, "list")
    assert (result.returncode, result.stdout, result.stderr) == (OK, b"", b"")
    assert json.loads(run("--store", store.path, "list", "--json").stdout) == []


def test_list(store):
    for seq in (1, 2, 10):
        store.add("job", seq, touch=seq == 2)
    store.add("größe x", 3)
    store.put("job", 11, "pages", bytes(10))  # an upload under way, or one that was cut off
    result = run("--store", store.path, "list")
    assert (result.returncode, result.stderr) == (OK, b"")
    lines = text_of(result.stdout).splitlines()
    assert lines[0].split() == "CHECKPOINT CREATED IMAGE STORED TOUCH SET SHARE TASKS COMMAND".split()
    assert [line.split("  ")[0] for line in lines[1:]] == ["größe x@3", "job@1", "job@2", "job@10"]
    assert all("2023-11-14T22:13:20Z" in line and "426 kB" in line for line in lines[1:])
    assert all(line.endswith("  2  root task") for line in lines[1:])
    assert b"1 interrupted upload is not listed" in run("-v", "--store", store.path, "list").stderr


def test_list_as_json(store):
    manifest = store.add("job", 2, touch=True)
    store.add("other", 1)
    rows = json.loads(run("--store", store.path, "list", "--json").stdout)
    touch_size = len(touch_of(manifest))
    assert rows[0] == {
        "name": "job",
        "seq": 2,
        "created": "2023-11-14T22:13:20Z",
        "image_bytes": 104 * PAGE,
        "lazy_pages": 100,
        "eager_pages": 4,
        "stored_bytes": 5200 + len(manifest) + touch_size,
        "touch_stored_bytes": touch_size,
        "touch_share": touch_size / 5000,
        "tasks": 2,
        "command": "root task",
    }
    assert rows[1]["touch_stored_bytes"] is None
    only = json.loads(run("--store", store.path, "list", "other", "--json").stdout)
    assert [row["name"] for row in only] == ["other"]


def test_list_survives_damaged_manifests(store):
    store.add("job", 1)
    good = store.add("job", 2)
    store.put("job", 3, "manifest", good)  # of another checkpoint
    store.put("job", 4, "manifest", good.replace(b"6.18.0", b"6.19.0"))
    store.put("job", 5, "manifest", b"")
    store.put("job", 6, "manifest", bytes(9 << 20))  # larger than any
    result = run("--store", store.path, "list", "--json")
    assert result.returncode == OK
    assert [row["seq"] for row in json.loads(result.stdout)] == [1, 2]
    lines = text_of(result.stderr).splitlines()
    assert [line.split(" is ")[0] for line in lines] == [
        f"frem: checkpoint 'job@{seq}'" for seq in (3, 4, 5, 6)
    ]
    assert all("damaged: manifest: " in line for line in lines)


def test_list_tells_of_objects_that_are_not_what_the_manifest_says(store):
    store.add("job", 1)
    store.add("job", 2)
    os.unlink(os.path.join(store.path, "job/1/head"))
    store.put("job", 2, "pages", bytes(4999))
    result = run("--store", store.path, "list")
    assert result.returncode == OK
    assert b"job@1" in result.stdout
    assert b"'job@1' is damaged: its head is missing" in result.stderr
    assert b"'job@2' is damaged: its pages has 4999 bytes, not 5000" in result.stderr


def test_list_of_many(store):
    for seq in range(1, 101):
        store.add("job", seq)
    rows = json.loads(run("--store", store.path, "list", "--json").stdout)
    assert [row["seq"] for row in rows] == list(range(1, 101))


# ---- show ----


def test_show_takes_the_latest_with_a_manifest(store):
    for seq in (2, 9, 10):
        store.add("job", seq)
    store.put("job", 11, "pages", bytes(10))
    assert json.loads(run("--store", store.path, "show", "job", "--json").stdout)["seq"] == 10
    assert json.loads(run("--store", store.path, "show", "job@9", "--json").stdout)["seq"] == 9
    check_error(run("--store", store.path, "show", "job@11"), NOT_FOUND, "'job@11'")
    store.put("upload", 1, "pages", bytes(10))
    check_error(run("--store", store.path, "show", "upload"), NOT_FOUND, "'upload'")


def test_show_as_json(store):
    manifest = store.add("job", 1, touch=True)
    shown = json.loads(run("--store", store.path, "show", "job", "--json").stdout)
    touch_size = len(touch_of(manifest))
    assert shown["touch"] == {
        "pages": 3,
        "bytes": 3 * PAGE,
        "stored_bytes": touch_size,
        "share": 0.03,
        "runs": 1,
        "window_ms": 72000,
        "scans": 123,
        "restarts": 0,
        "prepare_ms": 0.5,
        "frozen_ms": 1.25,
        "scan_ms": 2.0,
        "insert_ms": 0.75,
        "descriptor_ms": 0.0,
        "overhead_ms": 4.5,
        "overhead_share": 6.25e-05,
        "backend": "accessed-bits",
        "ended": "image-arrived",
        "curve": [{"ms": 10, "pages": 3}, {"ms": 72000, "pages": 3}],
    }
    touched = [task.pop("touch_pages") for task in shown["tasks"]]
    assert touched == [3, 0]
    assert shown["tasks"] == json.loads(manifest)["tasks"]
    for member in ("name", "seq", "image_bytes", "lazy_pages", "eager_pages", "kernel", "tcp"):
        assert shown[member] == json.loads(manifest)[member]
    assert shown["created"] == "2023-11-14T22:13:20Z"
    assert shown["stored_bytes"] == 5200 + len(manifest) + touch_size
    assert shown["manifest_digest"] == blake3(manifest).hex()


def test_show(store):
    store.add("job", 1, touch=True)
    result = run("--store", store.path, "show", "job@1")
    shown = text_of(result.stdout)
    assert (result.returncode, result.stderr) == (OK, b"")
    assert "checkpoint    job@1\n" in shown
    assert "touch set     3 pages, 12.3 kB, 3.0 % of the lazy ones; " in shown
    assert "  window      1 min 12 s, until the whole image could have arrived\n" in shown
    assert "  backend     accessed-bits, 123 scans\n" in shown
    assert "4.50 ms of processor time, 0.0063 % of the window\n" in shown
    assert "prepare 0.50, frozen 1.25, scans 2.00, insertion 0.75, descriptor 0.00 ms\n" in shown
    tasks, picture = shown.split("\ntouched, by address\n")
    assert tasks.splitlines()[-1].split() == ["9", "7", "1", "4.10", "kB", "0", "%", "größe"]
    assert picture.splitlines()[-1] == "      9 | |"
    store.add("plain", 1)
    assert b"touch set     none\n" in run("--store", store.path, "show", "plain").stdout


@pytest.mark.parametrize("locale, block", [("C", "#"), ("C.UTF-8", "\u2588")])
def test_show_draws_the_curve_as_the_locale_can(store, locale, block):
    store.add("job", 1, touch=True)
    shown = text_of(run("--store", store.path, "show", "job", LC_ALL=locale).stdout)
    # from 10 ms to 72 s, ten columns to each power of ten
    assert "\n  touched     " + " " * 10 + block * 40 + "\n" in shown
    assert "\n              1 ms      10 ms     100 ms    1 s       10 s\n" in shown


def test_show_does_without_a_damaged_touch_set(store):
    manifest = store.add("job", 1, touch=True)
    good = touch_of(manifest)
    for what, bad in {
        "flipped": good[:-5] + bytes([good[-5] ^ 1]) + good[-4:],
        "header": good[:20] + bytes([good[20] ^ 1]) + good[21:],
        "cut": good[:-1],
        "cut in the header": good[:50],
        "empty": b"",
        "of another manifest": touch_of(manifest + b"x"),
        "beyond the image": touch_of(manifest_of("job", 1, lazy_pages=2), pages=30),
    }.items():
        store.put("job", 1, "touch", bad)
        result = run("--store", store.path, "show", "job", "--json")
        assert result.returncode == OK, what
        assert json.loads(result.stdout)["touch"] is None, what
        check_error(result, OK, "touch: ", ", ignoring: ")
    # what follows the descriptor is not looked at, so that a large set costs nothing
    store.put("job", 1, "touch", touch_of(manifest, padding=1 << 20))
    shown = json.loads(run("--store", store.path, "show", "job", "--json").stdout)
    assert shown["touch"]["pages"] == 3


def test_show_refuses_a_damaged_manifest(store):
    good = store.add("job", 1)
    for bad in (good[:-10], good.replace(b'"seq":1', b'"seq":2'), b"", b"[]\n"):
        store.put("job", 1, "manifest", bad)
        result = run("--store", store.path, "show", "job", "--json")
        check_error(result, DAMAGED, "'job@1'", "manifest: ", "at offset ")
        assert list(json.loads(result.stdout)) == ["error"]


# ---- remove ----


def test_remove(store):
    for seq in (1, 2, 12):
        store.add("job", seq, touch=True)
    result = run("--store", store.path, "remove", "job@1", "job@12")
    assert (result.returncode, result.stderr) == (OK, b"")
    assert text_of(result.stdout).startswith("removed job@1, ")
    assert store.files() == [f"job/2/{o}" for o in ("head", "manifest", "pages", "touch")]
    check_error(run("--store", store.path, "remove", "job@1"), NOT_FOUND, "'job@1'")


def test_remove_a_missing_one_among_others(store):
    store.add("job", 1)
    store.add("job", 3)
    result = run("--store", store.path, "remove", "--json", "job@1", "job@2", "job@3")
    check_error(result, NOT_FOUND, "'job@2'")
    answer = json.loads(result.stdout)
    assert answer["removed"] == ["job@1", "job@3"]
    assert answer["error"]["code"] == NOT_FOUND
    assert store.files() == []


def test_remove_all_of_a_name(store):
    store.add("job", 1)
    store.add("job", 2)
    store.add("jobs", 1)
    store.put("job", 3, "pages", bytes(10))
    check_error(run("--store", store.path, "remove", "job"), USAGE, "'job' is a name")
    check_error(run("--store", store.path, "remove", "--all", "job@1"), USAGE, "'job@1'")
    assert len(store.files()) == 10
    result = run("--store", store.path, "remove", "--all", "job")
    assert result.returncode == OK
    assert b"removed job@3 (an interrupted upload), 10 B\n" in result.stdout
    assert store.files() == [f"jobs/1/{o}" for o in ("head", "manifest", "pages")]
    check_error(run("--store", store.path, "remove", "--all", "job"), NOT_FOUND, "'job'")


def test_remove_checks_all_names_first(store):
    store.add("job", 1)
    check_error(run("--store", store.path, "remove", "job@1", "job"), USAGE)
    assert len(store.files()) == 3


def test_remove_finishes_what_was_cut_short(store):
    store.add("job", 1)
    os.unlink(os.path.join(store.path, "job/1/manifest"))
    result = run("--store", store.path, "remove", "job@1")
    assert result.returncode == OK
    assert b"an interrupted upload" in result.stdout
    assert store.files() == []


class Recorder(http.server.BaseHTTPRequestHandler):
    """A store of one checkpoint that refuses to remove anything after the first object."""

    protocol_version = "HTTP/1.1"

    def answer(self, code, body=b""):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        keys = [f"job/1/{o}" for o in ("head", "manifest", "pages", "touch")]
        objects = [{"key": k, "size": 1, "modified": 0} for k in keys]
        self.answer(200, json.dumps({"objects": objects}).encode())

    def do_DELETE(self):
        self.server.removed.append(self.path)
        self.answer(204 if len(self.server.removed) == 1 else 403)

    def log_message(self, *_):
        pass


def test_remove_takes_the_manifest_first():
    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as server:
        server.removed = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            result = run("--store", url, "--json", "remove", "job@1")
        finally:
            server.shutdown()
            thread.join()
    check_error(result, STORE, "removing 'job@1'")
    assert json.loads(result.stdout)["removed"] == []
    assert server.removed[0] == "/job/1/manifest"


# ---- check ----


def test_check_says_what_is_there_and_what_to_do(store):
    result = run("check", "--json", "--store", store.path)
    answer = json.loads(result.stdout)
    checks = {c["name"]: c for c in answer["checks"]}
    assert {"privileges", "kernel", "criu", "userfaultfd", "run directory", "store"} <= set(checks)
    assert any(name.startswith("tracker ") for name in checks)
    for c in checks.values():
        assert set(c) == {"name", "ok", "state", "required", "text", "hint"}
        assert c["ok"] == (c["state"] != "missing")
        assert c["state"] in ("ok", "degraded", "missing")
        assert c["text"]
    assert answer["ok"] == all(c["ok"] for c in checks.values() if c["required"])
    assert result.returncode == (OK if answer["ok"] else UNABLE)
    shown = text_of(run("check", "--store", store.path).stdout)
    assert all(name in shown for name in checks)


@pytest.mark.parametrize(
    "environment, arguments, name",
    [
        ({"FREM_CRIU": "/nonexistent/criu"}, [], "criu"),
        ({"FREM_RUN_DIR": "/nonexistent"}, [], "run directory"),
        ({"FREM_RUN_DIR": "/proc"}, [], "run directory"),
        ({}, ["--store", "http://127.0.0.1:1"], "store"),
    ],
)
def test_check_fails_in_one_line(environment, arguments, name):
    result = run("check", "--json", *arguments, **environment)
    check_error(result, UNABLE, "cannot run here", name)
    answer = json.loads(result.stdout)
    missing = {c["name"]: c for c in answer["checks"] if c["state"] == "missing"}
    assert answer["ok"] is False
    assert answer["error"]["code"] == UNABLE
    assert missing[name]["required"]
    assert missing[name]["hint"]


def test_check_leaves_nothing_in_the_run_directory(tmp_path):
    run("check", FREM_RUN_DIR=str(tmp_path))
    assert os.listdir(tmp_path) == []
