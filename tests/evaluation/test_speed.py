"""The benchmark: what it counts, what it marks as not run, and two checkouts by turns."""

import json
import platform
from collections import Counter

import pytest
import torch

from flowedit.evaluation.speed import clones, measure, shapes, table
from flowedit.evaluation.speed.measure import Interleaved, Spent
from flowedit.evaluation.speed.shapes import SHAPES, SpeedShape
from flowedit.messages import FileMissingError, InputError, MachineError
from flowedit.networks import peers

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to."""
    at = [0.0]
    monkeypatch.setattr(measure, "now", lambda device: Spent(at[0], at[0] / 2))
    return lambda seconds: at.__setitem__(0, at[0] + seconds)


def test_the_loop_is_held_to_its_calls_and_the_bare_calls_between_are_not_in_it(clock):
    """Three steps of a call of 2 rows (3 s) and one of 4 (5 s), each with 0.5 s of our own: 25.5 s to 24."""
    rows, bare = Counter(), {2: 3.0, 4: 5.0}
    monitor = Interleaved(CPU, lambda count: (rows.update([count]), clock(bare[count])), rows)
    monitor.phase("encode", 1)
    clock(100.0)
    monitor.advance()
    monitor.phase("edit", 3)
    for _ in range(3):
        for count, seconds in bare.items():
            rows.update([count])
            clock(seconds)
        clock(0.5)
        monitor.advance()
    monitor.phase("decode, write", 1)
    clock(100.0)
    monitor.advance()
    assert monitor.loop == Spent(25.5, 12.75)
    assert monitor.floor == Spent(24.0, 12.0)
    assert monitor.calls == {2: 3, 4: 3}


SMALL = {"attention_head_dim": 16, "num_attention_heads": 2, "num_layers": 2}


@pytest.mark.parametrize("release", ["cogvideox-2b", "wan2.1-t2v-1.3b"])
def test_a_shape_is_measured_whole(tmp_path, monkeypatch, release):
    monkeypatch.setitem(SHAPES, "tiny", SpeedShape(release, 9, (64, 96), "cpu", 5, {"transformer": SMALL}))
    said = []
    made = table.measure(["tiny"], tmp_path, "cpu", 1, {"seed": 1}, said.append)
    (edit,), found = made["tiny"]["edits"], made["tiny"]
    assert edit["calls"] == 8  # four of five steps, a call for each side
    assert edit["rows_a_call"] == 2
    assert edit["network_evaluations"] == 16
    assert edit["ratio"] == pytest.approx(edit["loop"]["seconds"] / edit["floor"]["seconds"])
    assert {"encode", "embed", "edit", "decode and write"} <= set(edit["phases"])
    assert found["tokens"] == 3 * 4 * 6
    # diffusers' pipeline of Wan guides by a call for each side, that of CogVideoX by one of both
    assert (found["pipeline"]["calls"], found["pipeline"]["rows_a_call"]) == ((8, 1) if "wan" in release else (4, 2))
    assert set(found["ways"]) == {"plain", "recorded", "full maps", "unbatched"}
    assert all(way["seconds"] > 0 for way in found["ways"].values())
    assert (tmp_path / "tiny" / "edit-1" / "edit.mp4").exists()

    path = table.write(made, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8")).keys() == {"tiny"}
    assert "| `tiny` | 9, 96x64 | 72 |" in text
    assert "8 × 2" in text
    assert "| `cogvideox-5b` | 49, 720x480 | not run |" in text
    assert "`python scripts/benchmark.py shapes cpu-2k cpu-4k cpu-wan cogvideox-2b" in text
    assert not platform.node() or platform.node() not in text


def test_full_maps_are_the_recorder_s_and_the_network_s_output_stays(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "tiny", SpeedShape("cogvideox-5b", 9, (64, 96), "cpu", 5, {"transformer": SMALL}))
    rig = measure.Rig(SHAPES["tiny"], tmp_path, "cpu", {})
    z, tokens = rig.latent(), [0, 1]
    blocks, modules = rig.read()
    velocity = rig.backbone.velocity(rig.prompt, 6.0, rig.prompts[""])
    with rig.backbone.record({rig.prompt: [tokens]}, rig.settings.mask.blocks) as maps:
        plain = velocity(z, 0.5)
        ours = maps.take(rig.prompt)
    outputs = []
    text = rig.backbone.architecture.text_queries
    theirs = peers.with_full_maps(
        [modules[i] for i in blocks], tokens, slice(1, 2), text, lambda: outputs.append(velocity(z, 0.5))
    )
    torch.testing.assert_close(outputs[0], plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        torch.stack(theirs).mean(0).view(1, 1, 3, 4, 6), ours[..., ::2, ::2], rtol=1e-4, atol=1e-7
    )


def test_an_unknown_shape_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="shape 'cpu-8k' is not one of cpu-2k"):
        table.measure(["cpu-2k", "cpu-8k"], tmp_path, "cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_of_a_release_and_says_what_it_is(name):
    shape = shapes.shape_of(name)
    assert shape.release in shape.about
    assert ("whole" in shape.about) == (shape.device == "cuda")


MAIN = """
import sys, time
from pathlib import Path
def main(argv):
    out = Path(argv[argv.index("--out") + 1])
    if "fail" in argv:
        return 1
    out.mkdir(parents=True)
    with open({log!r}, "a") as file:
        print({name!r}, *argv[:2], file=file)
    (out / "run.yaml").write_text("phases: {{edit: {{seconds: {seconds}}}}}\\nnetwork_evaluations: 8\\n")
    print("not for the one who asked")
    return 0
"""


def _checkout(folder, log, seconds):
    (folder / "flowedit" / "cli").mkdir(parents=True)
    (folder / "flowedit" / "__init__.py").write_text("")
    (folder / "flowedit" / "cli" / "__init__.py").write_text("")
    text = MAIN.format(log=str(log), name=folder.name, seconds=seconds)
    (folder / "flowedit" / "cli" / "main.py").write_text(text)
    return folder


def test_two_checkouts_run_by_turns_and_the_first_turn_warms_up(tmp_path):
    log = tmp_path / "log"
    both = [_checkout(tmp_path / "old", log, 4.0), _checkout(tmp_path / "new", log, 1.0)]
    made = clones.beside(both, ["clip.yaml"], 2, 1)
    assert log.read_text().splitlines() == ["old edit clip.yaml", "new edit clip.yaml"] * 3
    assert [len(turns) for turns in made] == [2, 2]
    text = clones.compared(both, made)
    assert "| old | 4.00 s |" in text
    assert "| new | 1.00 s |" in text
    assert text.endswith("| 8 | 0.25 (0.25 to 0.25) |")


def test_a_checkout_that_is_none_or_cannot_run_is_told(tmp_path):
    old = _checkout(tmp_path / "old", tmp_path / "log", 1.0)
    with pytest.raises(FileMissingError, match="holds no flowedit: give the folder of a clone"):
        clones.beside([old, tmp_path], ["clip.yaml"], 1, 1)
    with pytest.raises(MachineError, match=r"old' cannot run edit fail .*run it there by hand"):
        clones.beside([old, old], ["fail"], 1, 1)
