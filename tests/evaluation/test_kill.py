"""A run that is killed outright, at any moment, is started again and ends as if nothing had been."""

import csv
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from test_evaluate import COSTS, dataset

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("FLOWEDIT_KILLS", "2"))
"""FLOWEDIT_KILLS=10 takes a few minutes."""

RUN = "import sys; from flowedit.cli.main import main; sys.exit(main())"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_ends_as_an_undisturbed_one(tmp_path):
    rest = [{"target": f"a {what} moves right over green grass", "target_words": what} for what in ("car", "frog")]
    file = dataset(tmp_path / "data", *rest)
    rng = random.Random(0)
    command = [
        sys.executable, "-c", RUN, "evaluate", str(file), "--modes", "inversion_free,random_noise",
        "--metrics", "psnr", "steps=3", "strength=1", "runtime.dtype=bfloat16", "runtime.device=cpu", "--out",
    ]  # fmt: skip
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    takes = time.monotonic() - start
    for kill in range(KILLS):
        process = subprocess.Popen(
            [*command, str(tmp_path / "killed")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(rng.uniform(0.2, 0.9) * takes)
        # All its processes at once, as a machine that stops, or it alone: its workers end with it.
        os.killpg(process.pid, signal.SIGKILL) if kill % 2 else os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True)
    tables = [_told(tmp_path / name / "table.csv") for name in ("whole", "killed")]
    assert tables[0] == tables[1]
    assert {row[1] for row in tables[0]} >= {"inversion_free", "random_noise"}
    kept = [{path.name for path in (tmp_path / name / ".jobs").iterdir()} for name in ("whole", "killed")]
    assert kept[0] == kept[1]


def _told(path):
    with path.open(encoding="utf-8") as file:
        return [line for line in csv.reader(file) if line[2] not in COSTS - {"network_evaluations"}]
