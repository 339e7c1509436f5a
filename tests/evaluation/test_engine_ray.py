"""The same jobs on Ray: the same bytes, and a worker that is killed in the middle costs nothing but time."""

import os
import signal
from pathlib import Path

import jobs
import pytest
from fox_edits import COSTS, dataset

from flowedit.evaluation.engine import drive, pools
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.store import open_store
from flowedit.evaluation.options import EngineOptions, evaluation
from flowedit.evaluation.results import rows
from flowedit.machine import digest
from flowedit.types import QUIET

pytestmark = pytest.mark.slow

pytest.importorskip("ray", reason="the extra [ray] brings it")
FEW = ["steps=3", "strength=1", "runtime.dtype=bfloat16", "runtime.device=cpu"]


def children() -> dict[int, str]:
    """The command lines of all processes that this one started, by number, down to the last."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue

    def ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and ours(parents[pid]))

    return {pid: name for pid, name in names.items() if pid != os.getpid() and ours(pid)}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_a_killed_worker_of_ray_loses_nothing(tmp_path, command, monkeypatch):
    """Six jobs on two workers, one of which is killed while it works; then the same without Ray."""
    colours = ("red car", "tiny panda")
    rest = [{"target": f"a {what} moves right over green grass", "target_words": what} for what in colours]
    file = dataset(tmp_path / "data", *rest)
    killed = []

    class Killer:
        """A monitor that kills one worker once two jobs are done."""

        done = 0

        def phase(self, name, total):
            self.name = name

        def advance(self, count=1):
            self.done += count
            if self.name == "edit" and self.done >= 2 and not killed:
                workers = [pid for pid, name in children().items() if "ray::Worker" in name]
                assert len(workers) == 2
                killed.append(workers[0])
                os.kill(workers[0], signal.SIGKILL)

        def notice(self, text):
            noticed.append(text)

    noticed = []
    from flowedit.evaluation import evaluate, plan

    made = {}
    for name, workers in (("ray", 2), ("local", 1)):
        flags = {
            "dataset": str(file),
            "modes": ["inversion_free", "random_noise"],
            "metrics": ["psnr"],
            "out": str(tmp_path / name),
            "engine": name,
            "engine.workers": workers,
        }
        settings, _ = evaluation(flags)
        chosen = plan.comparison(settings, {}, FEW)
        monitor = Killer() if name == "ray" else QUIET
        made[name] = evaluate.evaluate(settings, chosen, monitor)
    assert killed
    assert any("its worker died; it is tried again" in text for text in noticed)
    told = {name: [row for row in found.rows if row.metric not in COSTS] for name, found in made.items()}
    assert told["ray"] == told["local"]
    assert len(told["ray"]) == len({row[:4] for row in told["ray"]}) == 9  # with the unedited clips
    assert not rows.failures(told["ray"])
    edits = sorted((tmp_path / "ray" / ".jobs").glob("*/edit.mp4"))
    assert len(edits) == 6
    for edit in edits:
        assert edit.read_bytes() == (tmp_path / "local" / ".jobs" / edit.parent.name / "edit.mp4").read_bytes()


def test_a_poisoned_job_fails_alone_on_ray_too(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(jobs.__file__).parent))  # where its workers find these jobs
    tasks = [
        Job(digest("dies"), "poison", jobs.dies, tmp_path / "deaths"),
        *(Job(digest(n), f"job {n}", jobs.double, n) for n in range(3)),
        Job(digest("threads"), "threads", jobs.threads, None),
    ]
    settings = EngineOptions("ray", 2, 1)
    with open_store(tmp_path / "out") as store, pools.open_pool(settings, len(tasks)) as pool:
        found = drive.run(tasks, pool, store, QUIET, retries=1)
    assert "its worker died 2 times" in found[0].failure
    assert [outcome.failure for outcome in found[1:]] == [None] * 4
    assert [outcome.result["value"] for outcome in found[1:4]] == [0, 2, 4]
    assert found[4].result == {"torch": 1, "opencv": 1}


def test_a_job_that_a_worker_cannot_read_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with (
        open_store(tmp_path / "out") as store,
        pools.open_pool(EngineOptions("ray", 1, 1), 1) as pool,
    ):
        (found,) = drive.run([Job(digest("x"), "x", jobs.double, 1)], pool, store, QUIET)
    assert "No module named 'jobs'" in found.failure


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    settings = EngineOptions("ray", 1, 1, "127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"no Ray cluster at '127\.0\.0\.1:1'"), pools.open_pool(settings, 1):
        pass
