# SPDX-License-Identifier: GPL-2.0-or-later
"""One checkpoint, restarted several times at once on one machine."""

import os

import copies
from fremtest import wait_until

COPIES = 4


def test_restarts_at_once(stored, victim, tmp_path, served_store):
    """Each has its own pid namespace, all of its memory, and the pids that it had."""
    v = victim("touch_tenth", 20)
    stored.checkpoint(v, "job", "--window", "1s")
    v.kill()
    options = ["--record", "off"]
    arguments = (served_store.url, "job", os.path.dirname(v.status), "touch_tenth", options)
    with copies.Copies(COPIES, str(tmp_path), *arguments) as started:
        jobs = {wait_until("the program", copy.job) for copy in started.all}
        assert len(jobs) == COPIES
        for copy in started.all:
            copy.verify()
        started.wait(60)
        for copy in started.all:
            copy.verify()
            stats = copy.stats()
            assert stats["pages_total"] > 0 and stats["frames_retried"] == 0
        # a pager that was soon done may be gone before it is looked at
        assert 0 < max(copy.pager_kb for copy in started.all) < 100_000
