# SPDX-License-Identifier: GPL-2.0-or-later
"""A checkpoint of a restarted job of which memory is still missing: that is waited for."""

import os
import signal

import fremtest
from fremtest import lab

MEGABYTES = 9


class Generations:
    """A job that is restarted over a slow link and checkpointed into a store at hand."""

    def __init__(self, frem, victim, both, store_dir):
        self.frem, self.both, self.store_dir = frem, both, store_dir
        self.here = frem.at(store_dir, namespace=both.b)
        self.v = victim("touch_tenth", MEGABYTES, namespace=both.b)
        self.here.checkpoint(self.v, "job", "--window", "off")
        self.v.kill()
        self.served = lab.Served(store_dir, both.ip_a, both.a)
        self.far = frem.at(self.served.url, namespace=both.b)

    def restart(self, stats):
        """It runs, and most of its memory is missing."""
        restart = self.far.restart("job", "--record", "off", "--stats", stats)
        self.v.restarted(restart, 20)
        assert not os.path.exists(stats)
        return restart

    def checkpoint(self, *options):
        command = ("--json", "checkpoint", "--pid", self.v.pid, "--name", "job")
        return self.here.start(*command, "--window", "off", *options)

    def close(self):
        self.v.close()
        self.served.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_checkpoints_while_memory_is_missing(frem, victim, hosts, store_dir, tmp_path):
    """The next generation, the one after, and --stop: each has all of the memory."""
    with Generations(frem, victim, hosts(10, 6), store_dir) as job:
        for seq, options in ((2, []), (3, ["--stop"])):
            stats = str(tmp_path / f"stats{seq}")
            restart = job.restart(stats)
            result = frem.finish(job.checkpoint(*options))
            assert result.code == fremtest.OK and result.json()["seq"] == seq, result
            assert os.path.exists(stats), "it waited for all memory"
            assert "has still to arrive" in result.err, "and said so"
            if options:
                job.v.wait_for_end({job.v.pid})
            else:
                job.v.assert_runs()
                job.v.kill()
            frem.finish(restart)
        restart = job.here.restart("job")
        job.v.restarted(restart)
        job.v.verify()
        job.v.kill()
        frem.finish(restart)


def test_job_that_is_lost_while_a_checkpoint_waits(frem, victim, hosts, store_dir, tmp_path):
    """One line and no checkpoint; nor does it wait for what will never come."""
    with Generations(frem, victim, hosts(10, 1), store_dir) as job:
        restart = job.restart(str(tmp_path / "stats"))
        checkpoint = job.checkpoint()
        children = lab.descendants(restart.pid).items()
        keeper = next(pid for pid, (_, _, name) in children if name == "frem-keeper")
        os.kill(keeper, signal.SIGKILL)  # as good as a store that is gone for good
        assert frem.finish(restart, 30).code == fremtest.FAILED
        result = frem.finish(checkpoint, 30)
        assert result.code == fremtest.REFUSED and str(job.v.pid) in result.error(), result
        assert [c["seq"] for c in job.here.json("list", "job")] == [1]
