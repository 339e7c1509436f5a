"""The engine: what is done stays done, what dies is tried again, what fails fails alone, whatever runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jobs
import pytest
import torch

from flowedit.evaluation.engine import drive, pools
from flowedit.evaluation.engine.job import Job
from flowedit.evaluation.engine.pools import Here, Processes, open_pool
from flowedit.evaluation.engine.store import open_store
from flowedit.evaluation.engine.worker import Report
from flowedit.evaluation.options import EngineOptions
from flowedit.machine import digest, digest_file, digest_folder
from flowedit.types import QUIET

POOLS = {"here": Here, "processes": lambda: Processes(2), "one process": lambda: Processes(1)}


def task(work, spec, threads=1):
    return Job(digest(work.__name__, str(spec)), f"job {spec}", work, spec, threads=threads)


def run(tasks, store, pool="here", retries=2):
    with the_pool(pool) as opened:
        return drive.run(tasks, opened, store, QUIET, retries=retries)


class the_pool:
    def __init__(self, name):
        self.pool = POOLS[name]()

    def __enter__(self):
        return self.pool

    def __exit__(self, *_):
        self.pool.close()


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "out") as store:
        yield store


@pytest.mark.parametrize("pool", ["here", "processes"])
def test_every_job_is_made_once_and_in_order(store, pool, tmp_path, monkeypatch):
    monkeypatch.setenv("JOBS_RAN", str(tmp_path / "ran"))
    tasks = [task(jobs.double, spec) for spec in (3, 1, 2, 1)]
    found = run(tasks[:2], store, pool)
    assert [outcome.result["value"] for outcome in found] == [6, 2]
    again = run(tasks, store, pool)
    assert [outcome.result["value"] for outcome in again] == [6, 2, 4, 2]
    assert [outcome.before for outcome in again] == [True, True, False, True]
    assert sorted((tmp_path / "ran").read_text().split()) == ["1", "2", "3"]
    assert (store.folder(tasks[2].id) / "file.txt").read_text() == "2"


@pytest.mark.parametrize("pool", ["here", "one process"])
def test_a_worker_keeps_the_last_thing_of_a_kind(store, pool):
    specs = ["a", "a", "b", "a"]
    made = [Job(f"job-{n}", "job", jobs.counts, spec) for n, spec in enumerate(specs)]
    assert [outcome.result["value"] for outcome in run(made, store, pool)] == [1, 2, 1, 1]
    again = [Job(f"again-{n}", "job", jobs.counts, "a") for n in range(2)]
    assert [outcome.result["value"] for outcome in run(again, store, pool)] == [1, 2], "another pool, other workers"


class Turns:
    """Two slots whose jobs end in turn; notes which slot was given what."""

    size = 2

    def __init__(self):
        self.given, self.at_work = {0: [], 1: []}, []

    def start(self, slot, job, root):
        self.given[slot].append(job.spec)
        self.at_work.append(slot)

    def wait(self):
        return [Report(self.at_work.pop(0), {"value": 1}, None)]

    def close(self): ...


@pytest.mark.parametrize(
    ("specs", "given"),
    [
        (["a1", "a2", "a3", "b1", "b2", "c1"], {0: ["a1", "a2", "a3"], 1: ["b1", "b2", "c1"]}),
        (["a1", "a2", "a3", "a4"], {0: ["a1", "a3"], 1: ["a2", "a4"]}),  # nobody stands idle
        (["1", "a1", "2", "a2"], {0: ["1", "2"], 1: ["a1", "a2"]}),
    ],
)
def test_jobs_that_share_something_go_to_one_worker(store, specs, given):
    pool = Turns()
    made = [Job(spec, spec, jobs.double, spec, shares=spec[:-1] or None) for spec in specs]
    assert [outcome.job.spec for outcome in drive.run(made, pool, store, QUIET)] == specs
    assert pool.given == given


@pytest.mark.parametrize("pool", ["here", "processes"])
def test_a_job_that_raises_fails_alone_and_leaves_nothing(store, pool):
    tasks = [task(jobs.double, 1), task(jobs.raises, "this"), task(jobs.double, 2)]
    found = run(tasks, store, pool)
    assert [outcome.failure for outcome in found] == [None, "this is bad", None]
    assert {path.name for path in store.root.iterdir()} - {".lock"} == {tasks[0].id, tasks[2].id}
    assert run(tasks[1:2], store, pool)[0].failure == "this is bad"  # tried anew by the next run


def test_a_job_whose_worker_dies_is_tried_elsewhere(store, tmp_path):
    tasks = [task(jobs.dies_once, tmp_path / "died"), *(task(jobs.double, n) for n in range(4))]
    found = run(tasks, store, "processes")
    assert found[0].result["value"] == "alive"
    assert [outcome.result["value"] for outcome in found[1:]] == [0, 2, 4, 6]


def test_what_dead_workers_left_is_swept(tmp_path):
    with open_store(tmp_path / "out") as store:
        run([task(jobs.dies, tmp_path / "deaths")], store, "processes", retries=0)
        assert [path.name.endswith(".part") for path in store.root.iterdir() if path.name != ".lock"] == [True]
    assert [path.name for path in store.root.iterdir()] == [".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_workers_do_not_outlive_a_run_that_is_killed(tmp_path):
    script = (
        "import jobs, sys; from pathlib import Path; from flowedit.evaluation.engine import drive, store as stores;"
        "from flowedit.evaluation.engine.job import Job; from flowedit.types import QUIET;"
        "from flowedit.evaluation.engine.pools import Processes\n"
        "if __name__ == '__main__':\n"
        "    place = Path(sys.argv[1])\n"
        "    tasks = [Job(str(n), str(n), jobs.waits, (str(place), str(n))) for n in range(2)]\n"
        "    with stores.open_store(place / 'out') as store: drive.run(tasks, Processes(2), store, QUIET)"
    )
    (tmp_path / "driver.py").write_text(script)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, str(tmp_path / "driver.py"), str(tmp_path)], env=env)
    try:
        pids = [int(_read(tmp_path / f"{n}.pid")) for n in range(2)]
    finally:
        driver.kill()
        driver.wait()
    for pid in pids:
        assert _ends(pid)


def _read(path, seconds=60):
    """The text of a file that another process writes."""
    for _ in range(seconds * 20):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def _ends(pid, seconds=20):
    """Whether a process is gone, or goes."""
    for _ in range(seconds * 20):
        try:
            state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_poisoned_job_fails_alone_after_its_retries(store, tmp_path):
    tasks = [task(jobs.dies, tmp_path / "deaths"), *(task(jobs.double, n) for n in range(4))]
    found = run(tasks, store, "processes", retries=1)
    assert "its worker died 2 times" in found[0].failure
    assert (tmp_path / "deaths").read_text() == "xx"
    assert [outcome.failure for outcome in found[1:]] == [None] * 4


@pytest.mark.parametrize("pool", ["here", "processes"])
def test_threads_are_pinned_wherever_a_job_runs(store, pool):
    (found,) = run([task(jobs.threads, "one")], store, pool)
    assert found.result == {"torch": 1, "opencv": 1}


def test_a_killed_run_leaves_nothing_that_the_next_one_trips_over(tmp_path):
    with open_store(tmp_path) as store:
        (store.root / ".abc-x.part").mkdir()
        (store.root / "abc").mkdir()  # no result.json: never ours, and no finished job
        assert store.result("abc") is None
    with open_store(tmp_path) as store:
        assert not (store.root / ".abc-x.part").exists()


def test_two_runs_do_not_work_in_one_folder(tmp_path):
    with open_store(tmp_path), pytest.raises(BlockingIOError, match="another run works"), open_store(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000], ids=lambda text: text[:4])
def test_a_damaged_result_is_named(store, text):
    (store.root / "abc").mkdir()
    (store.root / "abc" / "result.json").write_text(text)
    with pytest.raises(ValueError, match=r"result\.json.* is damaged"):
        store.result("abc")


def test_a_result_says_which_job_it_is(store):
    one = task(jobs.double, 5)
    run([one], store)
    data = json.loads((store.folder(one.id) / "result.json").read_text())
    assert data == {"id": one.id, "label": "job 5", "value": 10}


def test_identities_follow_content_and_nothing_else(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(text)
    assert digest_file(tmp_path / "a") == digest_file(tmp_path / "b") != digest_file(tmp_path / "c")
    for name in ("x", "y"):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "weights").write_text("w" * 50)
    assert digest_folder(tmp_path / "x") == digest_folder(tmp_path / "y")
    (tmp_path / "y" / "part" / "weights").write_text("v" * 50)
    assert digest_folder(tmp_path / "x") != digest_folder(tmp_path / "y")


def test_a_large_file_of_a_checkpoint_is_known_by_size_time_and_ends(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"w" * (3 * 2**20))
    before = digest_folder(tmp_path, whole=100)
    assert digest_folder(tmp_path, whole=100) == before
    path.write_bytes(b"w" * (3 * 2**20 - 1) + b"x")
    assert digest_folder(tmp_path, whole=100) != before


def test_workers_are_no_more_than_jobs():
    with open_pool(EngineOptions("local", None, 2), most=1) as pool:
        assert isinstance(pool, Here)
    with open_pool(EngineOptions("local", 3, 2), most=2) as pool:
        assert pool.size == 2


def test_each_worker_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(pools.machine, "find_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert pools._gpus("auto") == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert pools._gpus("cuda") == ["4", "7"]
    assert pools._gpus("cuda:1") == [pools.KEEP]
    with open_pool(EngineOptions("local", None, 2), most=9, device="auto") as pool:
        assert pool.size == 2


@pytest.mark.parametrize(("workers", "retries"), [(0, 2), (1, -1)])
def test_settings_out_of_range(workers, retries):
    with pytest.raises(ValueError, match="at least"):
        EngineOptions("local", workers, retries)
