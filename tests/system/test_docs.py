# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines of the howtos do what they say; those of all pages are ones that frem understands."""

import glob
import os
import re
import signal
import subprocess

import pytest

import fremtest
from fremtest import lab, wait_until
from test_help import TABLE, forms
from test_readme import answers, free_port
from test_run import JOB, LINES, STOPPED, WHOLE, kill

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = [
    os.path.relpath(path, ROOT)
    for pattern in ("*.md", "docs/*.md", "docs/howto/*.md")
    for path in glob.glob(os.path.join(ROOT, pattern))
]
MAN_PAGES = [os.path.join("man", name) for name in sorted(os.listdir(os.path.join(ROOT, "man")))]
HOWTOS = {"batch-job", "service", "two-hosts"}


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        return f.read()


def blocks(howto, replacements):
    """The fenced blocks of a howto, with this test's own values."""
    text = read(f"docs/howto/{howto}.md")
    for old, new in replacements.items():
        assert old in text, f"the howto no longer says {old}"
        text = text.replace(old, new)
    return re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)


def frem_environment():
    kept = {k: v for k, v in os.environ.items() if k != "FREM_STORE"}
    return {**kept, "PATH": f"{fremtest.BUILD}:{os.environ['PATH']}"}


def shell(block, directory):
    """Runs a block as it stands, to its end."""
    done = subprocess.run(
        ["bash", "-ec", block],
        cwd=directory,
        env=frem_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (block, done)
    return done.stdout


@pytest.fixture
def started(frem):
    """started(command line, directory): starts it in place of a shell; ended with the test."""

    def start(line, directory, **popen):
        frem.running.append(
            subprocess.Popen(
                ["bash", "-ec", line],
                cwd=directory,
                env=frem_environment(),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                **{"stdout": subprocess.PIPE, **popen},
            )
        )
        frem.running[-1].arguments = [line]
        return frem.running[-1]

    return start


def manifests(store, name):
    return glob.glob(f"{store}/{name}/*/manifest")


def test_every_howto_is_tested():
    assert HOWTOS == {os.path.basename(p)[:-3] for p in PAGES if p.startswith("docs/howto/")}


def test_batch_job(frem, started, store_dir, tmp_path):
    """Killed, preempted, and run to its end; then started over."""
    go = tmp_path / "go"
    (tmp_path / "job.sh").write_text((JOB % LINES).replace('"$0"', str(go)))
    script, look, remove = blocks(
        "batch-job",
        {
            "/srv/frem": store_dir,
            "glpsol --lp model.lp -o model.sol": "/bin/sh job.sh",
            "--every 10m": "--every 300ms",
        },
    )
    (tmp_path / "batch").write_text(script)
    out = tmp_path / "out"

    def submit():
        with open(out, "ab") as stdout:
            return started("exec sh ./batch", tmp_path, stdout=stdout)

    first = submit()
    wait_until("a checkpoint", lambda: manifests(store_dir, "solve"), 30)
    kill(first)
    assert "solve@" in shell(look, tmp_path)
    second = submit()
    wait_until("it goes on", lambda: b"goes on from checkpoint" in second.stderr.readline(), 30)
    second.terminate()
    assert frem.finish(second).code == STOPPED
    go.touch()
    assert frem.finish(submit()).code == 0
    go.unlink()
    assert out.read_text() == WHOLE
    assert not manifests(store_dir, "solve"), "--clean"
    third = submit()
    wait_until("a checkpoint", lambda: manifests(store_dir, "solve"), 30)
    kill(third)
    assert "removed solve@" in shell(remove, tmp_path)
    assert not manifests(store_dir, "solve")


def value(unit, key):
    return re.search(rf"^{key}=(.*)$", unit, re.M).group(1)


def test_service(frem, started, store_dir, tmp_path):
    """What the units start is stopped as systemd would do it, and started again."""
    port = free_port()
    program = fremtest.program("tcp_echo")
    store, service, look = blocks(
        "service",
        {
            "/usr/bin/frem": fremtest.FREM,
            "/srv/frem": store_dir,
            "10.0.0.1:7400": f"127.0.0.1:{port}",
            "/usr/bin/redis-server /etc/redis.conf": f"{program} status",
        },
    )
    started("exec " + value(store, "ExecStart"), tmp_path)
    wait_until("the store", lambda: answers(port), 10)
    line = f"export {value(service, 'Environment')}; exec {value(service, 'ExecStart')}"
    assert value(service, "KillMode") == "mixed"  # the SIGTERM goes to frem alone
    assert int(value(service, "SuccessExitStatus")) == STOPPED
    for at in (1, 2):
        unit = started(line, tmp_path)
        wait_until("the service", lambda u=unit: "tcp_echo" in str(lab.descendants(u.pid)), 20)
        if at == 2:
            wait_until("its memory", lambda: b"goes on from" in unit.stderr.readline(), 20)
        unit.terminate()
        assert frem.finish(unit).code == STOPPED
        assert f"cache@{at}" in shell(look, tmp_path)


def test_two_hosts(frem, started, victim, store_dir, tmp_path):
    v = victim("touch_tenth", 20)
    port = free_port()
    once, here, there, after = blocks(
        "two-hosts",
        {
            "/srv/frem": store_dir,
            "10.0.0.1:7400": f"127.0.0.1:{port}",
            "4711": str(v.pid),
        },
    )
    started(re.sub(r"^(?=frem)", "exec ", once, flags=re.M), tmp_path)
    wait_until("the store", lambda: answers(port), 10)
    assert "cache@1" in shell(here, tmp_path)
    v.assert_runs()
    v.kill()
    assert "cache@1 runs as process" in shell(there, tmp_path)
    v.assert_runs()
    os.kill(v.pid, signal.SIGKILL)
    v.wait_for_end({v.pid})
    assert "removed cache@1" in shell(after, tmp_path)


# ---- whatever page it is ----


def as_markdown(page):
    """A page's text; of a manual page its examples."""
    if not page.startswith("man/"):
        return read(page)
    plain = read(page).replace("\\-", "-").replace("\\e\n", "\\\n").replace("\\(oq", "'")
    return "".join(f"```\n{e}```\n" for e in re.findall(r"^\.EX\n(.*?)^\.EE", plain, re.M | re.S))


def command_lines(page):
    """Every command line of frem's in a page: in blocks, and as code within the text."""
    text = as_markdown(page).replace("\\\n", " ").replace("\\|", "|")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for line in lines:
        start = re.search(r"(?:^|[ =/])frem ((?:-|[a-z-]+\b).*)$", line.split("  #")[0])
        if start and not line.startswith("frem: "):
            yield start.group(1)


def verb_and_options(line):
    """The verb of a command line and its options, up to what frem run starts."""
    words = line.split(" -- ")[0].replace("[", " ").replace("]", " ").split()
    options = [w.split("=")[0].rstrip(".,;:)") for w in words if re.match(r"--?[a-z]", w, re.I)]
    globals_ = set().union(*(forms(o) for o in TABLE[""]["options"]))
    takes = {f for o in TABLE[""]["options"] if o["value"] for f in forms(o)}
    while words and words[0].startswith("-"):
        words = words[2 if words[0] in takes else 1 :]
    return (words[0] if words else ""), set(options) - globals_ - {"-vv"}


@pytest.mark.parametrize("page", PAGES + MAN_PAGES)
def test_pages_name_commands_and_options_that_exist(page):
    for line in command_lines(page):
        verb, options = verb_and_options(line)
        if verb in ("help", "completion", "COMMAND"):
            continue
        assert verb in TABLE, line
        known = set().union(*(forms(o) for o in TABLE[verb]["options"]), set())
        assert options <= known, line


def test_command_lines_are_found():
    found = [line for page in PAGES for line in command_lines(page)]
    assert len(found) > 30
    assert sum(len(list(command_lines(page))) for page in MAN_PAGES) > 5
    assert verb_and_options("--store /srv list solve") == ("list", set())
    assert verb_and_options("restart X [--resume now|full] [-q]") == ("restart", {"--resume"})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", read(page)):
        if "://" not in target:
            assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)), target


def test_make_has_what_pages_call():
    makefile = read("Makefile")
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z]+)", read(page), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), (page, target)
