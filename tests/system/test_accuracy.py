# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmark's ground truth, on the program whose touches are known: one short window."""

import json
import os
import subprocess

from fremtest import CRIU
from lab import BUILD, ROOT


def test_a_touch_set_is_what_a_restart_touches(tmp_path):
    environment = {**os.environ, "FREM_BUILD": BUILD}
    environment.setdefault("FREM_CRIU", CRIU)
    command = [os.path.join(ROOT, "bench", "accuracy"), "--json", "--window", "3"]
    command += ["--keep", str(tmp_path), "pattern"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)[0]
    total = result["total"]
    assert result["reached"], result
    assert result["real_backend"] == "restart"
    assert abs(total["touched"] - result["work"]) < 400, "a new page each step, and 256 hot ones"
    assert total["recall"] > 0.985 and total["precision"] > 0.95, result
    assert total["in_order"] > 0.99, result
    assert [p["comm"] for p in result["processes"]] == ["pattern"]
