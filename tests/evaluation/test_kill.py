"""A run that is killed outright, at any moment, is started again and ends as if nothing had been."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from fox_edits import COSTS, dataset

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FLOWEDIT_KILLS", "2"))
"""FLOWEDIT_KILLS=10 takes a few minutes."""

RUN = "import sys; from flowedit.cli.main import main; sys.exit(main())"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path, command):
    file = dataset(tmp_path / "data", {"target": "a car moves right over green grass", "target_words": "car"})
    rng = random.Random(0)
    args = [
        "evaluate", str(file), "--modes", "inversion_free,random_noise", "--metrics", "psnr", "steps=3", "strength=1",
        "runtime.dtype=bfloat16", "runtime.device=cpu", "--out",
    ]  # fmt: skip
    code, _, err = command(*args, tmp_path / "whole", "--workers", 1)  # in this process: it need not start others
    assert code == 0, err
    killed = [sys.executable, "-c", RUN, *args, str(tmp_path / "killed"), "--workers", "2"]
    for kill in range(KILLS):
        process = subprocess.Popen(
            killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )  # fmt: skip
        before, wanted = _done(tmp_path / "killed"), rng.randint(0, 2)
        while process.poll() is None and _done(tmp_path / "killed") < before + wanted:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 1.0))
        # All its processes at once, as a machine that stops, or it alone: its workers end with it.
        with suppress(ProcessLookupError):  # it may have ended before
            os.killpg(process.pid, signal.SIGKILL) if kill % 2 else process.kill()
        process.wait()
    subprocess.run(killed, check=True, capture_output=True)
    tables = [_told(tmp_path / name / "table.csv") for name in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert {row[1] for row in tables[0]} >= {"inversion_free", "random_noise"}
    kept = [{path.name for path in (tmp_path / name / ".jobs").iterdir()} for name in ("whole", "killed")]
    assert kept[0] == kept[1]


def _done(out):
    """How many jobs lie there whole."""
    return len(list(out.glob(".jobs/*/result.json")))


def _told(path):
    with path.open(encoding="utf-8") as file:
        return [line for line in csv.reader(file) if line[2] not in COSTS - {"network_evaluations"}]
