"""What edits of one clip share: it is encoded once, and looked at once, whatever the methods, seeds and workers."""

import pytest
import yaml
from fox_edits import FOX, ROW

from flowedit.evaluation.edit_job import SHARED, costs
from flowedit.pipeline import resume, run

PROMPTS = [
    part
    for key in ("source", "target", "source_words", "target_words")
    for part in (f"--{key.replace('_', '-')}", ROW[key])
]
QUICK = ["--frames", "5", "--size", "64x64", "--steps", "2"]


@pytest.fixture
def encoded(monkeypatch):
    """The shots that were encoded, and the clips that were looked at."""
    seen = []
    encode, lost = run.encode, run._lost
    monkeypatch.setattr(run, "encode", lambda *args: (seen.append("encoded"), encode(*args))[1])
    monkeypatch.setattr(run, "_lost", lambda *args: (seen.append("looked at"), lost(*args))[1])
    return seen


def test_seeds_of_a_sweep_share_one_encoding_and_make_what_each_makes_alone(tmp_path, command, encoded):
    code, _, err = command("edit", FOX, *PROMPTS, *QUICK, "--seed", "1,2", "--out", tmp_path / "both")
    assert code == 0, err
    assert encoded == ["encoded", "looked at"]
    assert not list(tmp_path.glob("both/.jobs/.sources*"))  # a clip's content does not stay
    runs = [yaml.safe_load((tmp_path / "both" / f"seed-{n}" / "run.yaml").read_text()) for n in (1, 2)]
    assert ["encode" in each["phases"] for each in runs] == [True, False]
    assert runs[0]["notices"] == runs[1]["notices"]
    code, _, err = command("edit", FOX, *PROMPTS, *QUICK, "--seed", "2", "--out", tmp_path / "alone")
    assert code == 0, err
    alone, shared = (tmp_path / place / "edit.mp4" for place in ("alone", "both/seed-2"))
    assert alone.read_bytes() == shared.read_bytes()


def test_methods_of_a_comparison_share_one_encoding_but_not_over_sizes(tmp_path, command, encoded):
    args = ["compare", FOX, *PROMPTS, *QUICK, "--modes", "random_noise,inversion_free", "--evaluations", "own"]
    args += ["metrics=[psnr]", "--out"]
    code, _, err = command(*args, tmp_path / "out")
    assert code == 0, err
    assert encoded == ["encoded", "looked at"]
    code, _, err = command(*args, tmp_path / "other", "--also", "size=96x64")
    assert code == 0, err
    assert encoded.count("encoded") == 3


def test_what_is_done_for_the_clip_is_no_cost_of_a_method():
    phase = {"seconds": 1.0, "peak_memory_mib": 9.0}
    own = {"seconds": 2.0, "peak_memory_mib": 5.0}
    record = {
        "network_evaluations": 4,
        "token_evaluations": 3.5,
        "phases": {**dict.fromkeys(SHARED, phase), "edit": own, "decode": own},
    }
    assert costs(record) == {
        "network_evaluations": 4.0, "token_evaluations": 3.5, "seconds": 4.0, "peak_memory_mib": 5.0,
    }  # fmt: skip


def test_a_clip_that_was_looked_at_is_not_looked_at_again(tmp_path, command, monkeypatch):
    """The second edit of a clip decodes its result alone; a damaged note is made anew."""
    cache = tmp_path / "cache"
    args = ["edit", FOX, *PROMPTS, *QUICK, f"runtime.cache={cache}", "--out", tmp_path / "out"]
    assert command(*args)[0] == 0
    (note,) = cache.glob("carries-*.json")
    decoded = []
    before = run.psnr
    monkeypatch.setattr(run, "psnr", lambda *args: (decoded.append(1), before(*args))[1])
    assert command(*args)[0] == 0
    assert decoded == []
    for damaged in ("", "no number", "[1]"):
        note.write_text(damaged)
        assert command(*args)[0] == 0
        assert float(note.read_text()) > 5.0
    assert len(decoded) == 3
    note.write_text("3.5")
    code, _, err = command(*args)
    assert code == 0
    assert "gives this clip back at 3.5 dB only" in err


def test_two_that_want_the_same_clip_wait_for_each_other(tmp_path):
    from filelock import FileLock

    kept = resume.Journal(tmp_path / "new")
    with kept.alone("name"):
        lock = FileLock(tmp_path / "new" / "name.lock", timeout=0)
        with pytest.raises(TimeoutError):
            lock.acquire()
    lock.acquire()
    lock.release()
    with resume.Journal().alone("name"):  # without a folder nothing is kept, and nobody waits
        pass
