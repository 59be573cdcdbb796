# SPDX-License-Identifier: GPL-2.0-or-later
"""Every unit test program of the build, and of the build with ASan and UBSan, one by one."""

import json
import os
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = {
    "plain": os.path.abspath(os.environ.get("FREM_BUILD") or os.path.join(ROOT, "build")),
    "asan": os.path.join(ROOT, "build-asan"),
}
# Programs that cannot run under the sanitizers, each with its reason.
NOT_UNDER_ASAN = {}
# Programs that take long because of what they wait for: once, under the sanitizers, has to do.
ONLY_UNDER_ASAN = ("test_pager_trouble",)
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def programs_of(build):
    """What meson knows of a build directory's tests; nothing where it was not built."""
    try:
        with open(os.path.join(build, "meson-info", "intro-tests.json"), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return []


def cases():
    for kind, build in BUILDS.items():
        for test in programs_of(build):
            name = test["name"]
            marks = []
            if kind != "asan" and name in ONLY_UNDER_ASAN:
                continue
            if kind == "asan" and name in NOT_UNDER_ASAN:
                marks = [pytest.mark.skip(reason=NOT_UNDER_ASAN[name])]
            yield pytest.param(kind, test, id=f"{kind}-{name}", marks=marks)


def report(done):
    """What a failed program said, without the lines of what went well."""
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if "[ RUN" not in line and "[       OK" not in line)


@pytest.mark.parametrize("kind, test", cases())
def test_program(kind, test):
    environment = {**os.environ, **test["env"]}
    if kind == "asan":
        environment.update(SANITIZER_OPTIONS)
    done = subprocess.run(
        test["cmd"],
        env=environment,
        cwd=test["workdir"] or BUILDS[kind],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=2 * test["timeout"],
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{report(done)}"


@pytest.mark.parametrize("kind", BUILDS)
def test_build_has_tests(kind):
    assert programs_of(BUILDS[kind]), f"{BUILDS[kind]} has no tests: `make test` builds them"
