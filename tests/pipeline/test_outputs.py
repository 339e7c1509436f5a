"""What an edit leaves: the files, their shape, what run.yaml says, the same bytes again, and no mixture of two runs."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from flowedit.media.probe import probe
from flowedit.pipeline import outputs

PROMPT = 'a fox, "red": 100% [x] ${oc.env:HOME} = 狐狸 🦊\nثعلب'
SMALL = ("--steps", 3, "--size", "48x32", "--window", "whole")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """Where the runs of this module lie: `first`, made with words, and `again`, the same once more."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def edit(command, clip_file, backbone_2b):
    def run(out, *args):
        flags = ("--backbone", backbone_2b, "--source", "a dog runs", "--target", PROMPT, "--out", out, "--quiet")
        code, said, err = command("edit", clip_file, *flags, *SMALL, *args)
        assert code == 0, err
        assert said == f"{out}/edit.mp4\n"
        return err

    return run


@pytest.fixture
def first(edit, box):
    folder = box / "first"
    if not folder.exists():
        edit(folder, "--source-words", "dog", "--target-words", "fox")
    return folder


def sound(path):
    """Seconds and loudness of the sound."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        return len(samples) / frames[0].sample_rate, float(np.abs(samples).mean())


def test_an_edit_leaves_these_files_alone(first):
    assert {path.name for path in first.iterdir()} == {
        "edit.mp4",
        "compare.mp4",
        "mask.mp4",
        "mask_plain.mp4",
        "run.yaml",
    }
    assert first.stat().st_mode & 0o777 == 0o777 & ~outputs.umask()


def test_the_edit_has_the_source_shape_rate_and_sound(first, clip_file):
    source, edit = probe(clip_file), probe(first / "edit.mp4")
    assert (edit.size, edit.frames, edit.fps, edit.has_audio) == (source.size, source.frames, source.fps, True)
    with av.open(str(clip_file)) as a, av.open(str(first / "edit.mp4")) as b:
        assert abs(float(a.duration - b.duration)) / av.time_base < 0.05
    (seconds, loud), (there, before) = sound(first / "edit.mp4"), sound(clip_file)
    assert seconds == pytest.approx(there, abs=0.05)
    assert loud == pytest.approx(before, rel=0.1)


def test_the_comparison_and_the_overlay(first, clip_file):
    source, compare, mask = (probe(path) for path in (clip_file, first / "compare.mp4", first / "mask.mp4"))
    assert compare.size[1] == 2 * source.size[1]
    assert compare.size[0] > source.size[0]  # a strip with labels
    assert mask.size == source.size
    assert compare.frames == mask.frames == source.frames
    assert compare.fps == mask.fps == source.fps


def test_run_yaml_says_all(first, clip_file, backbone_2b):
    run = yaml.safe_load((first / "run.yaml").read_text(encoding="utf-8"))
    settings = run["settings"]
    assert (settings["source"], settings["target"]) == ("a dog runs", PROMPT)
    assert (settings["seed"], settings["steps"], settings["mode"]["name"]) == (0, 3, "inversion_free")
    assert settings["backbone"]["path"] == str(backbone_2b)
    assert set(run["phases"]) == {"find cuts", "encode", "embed", "edit", "decode and write"}
    for phase in run["phases"].values():
        assert phase["seconds"] >= 0
        assert phase["peak_memory_mib"] > 10
    assert run["phases"]["edit"]["seconds"] > 0
    # Both sides with guidance, two rows each, on every step that is run.
    assert run["network_evaluations"] == 4 * (len(run["times"]) - 1)
    assert {"python", "torch", "diffusers", "transformers", "flowedit"} <= set(run["versions"])
    assert all(run["versions"][name] for name in ("python", "torch", "flowedit"))
    assert run["clip"]["frames"] == 12
    assert run["clip"]["size"] == "96x64"
    assert run["clip"]["working_size"] == "48x32"
    assert run["trained"] is False
    assert any("random weights" in text for text in run["notices"])


def test_the_same_seed_gives_the_same_bytes(edit, first, box):
    edit(box / "again", "--source-words", "dog", "--target-words", "fox")
    for name in ("edit.mp4", "compare.mp4", "mask.mp4", "mask_plain.mp4"):
        assert (box / "again" / name).read_bytes() == (first / name).read_bytes()


def test_another_seed_differs_and_an_older_mask_goes(edit, first, box):
    folder = box / "other"
    edit(folder, "--seed", 1, "--source-words", "dog", "--target-words", "fox", "--frames", 5)
    seeded = (folder / "edit.mp4").read_bytes()
    assert (folder / "mask.mp4").exists()
    (folder / "mine.txt").write_text("not ours", encoding="utf-8")
    edit(folder, "--seed", 2, "--source-words", "dog", "--target-words", "fox", "--frames", 5)
    assert (folder / "edit.mp4").read_bytes() != seeded
    edit(folder, "--strength", 0, "--frames", 5)
    assert {path.name for path in folder.iterdir()} == {"edit.mp4", "compare.mp4", "run.yaml", "mine.txt"}


def test_without_out_there_is_a_folder_of_clip_and_time(command, clip_file, backbone_2b, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ("--backbone", backbone_2b, "--source", "a", "--target", "b", "--strength", 0, "--frames", 1, "--quiet")
    code, said, err = command("edit", clip_file, *flags, "--size", "48x32")
    assert code == 0, err
    (made,) = (tmp_path / "outputs" / "clip").iterdir()
    assert said == f"outputs/clip/{made.name}/edit.mp4\n"
    assert not (made / "mask.mp4").exists()


def test_outside_a_user_mask_the_pixels_are_the_source(edit, clip_file, box):
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 64:] = 255
    cv2.imwrite(str(box / "right.png"), mask)
    edit(box / "masked", "--user-mask", box / "right.png", "--strength", 1, "--frames", 5)

    def frames(path):
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:5]).astype(int)

    change = np.abs(frames(box / "masked" / "edit.mp4") - frames(clip_file)).mean((0, 1, 3))
    assert change[:56].mean() < 4
    assert change[72:].mean() > 20


def test_generate_takes_a_rule_and_an_interval_of_guidance(command, backbone_2b, box):
    made = {}

    def generate(name, *flags):
        size = ("--size", "64x32", "--frames", 1, "--steps", 3, "--backbone", backbone_2b)
        code, _, err = command("generate", PROMPT, *size, "--out", box / name, *flags)
        assert code == 0, err
        run = yaml.safe_load((box / name / "run.yaml").read_text(encoding="utf-8"))
        assert f"{run['network_evaluations']} network evaluations" in err  # foretold, and counted
        with av.open(str(box / name / "video.mp4")) as video:  # the file holds its settings, which differ
            made[name] = b"".join(bytes(packet) for packet in video.demux())
        return run["network_evaluations"], [text for text in run["notices"] if "guidance" in text]

    assert generate("plain", "--target-guidance-scale", 8) == (6, [])
    assert generate("star", "--target-guidance-scale", 8, "--guidance-rule", "zero_star") == (6, [])
    assert generate("rectified", "--target-guidance-scale", 8, "--guidance-rule", "rectified") == (9, [])
    assert generate("early", "--target-guidance-scale", 8, "--guidance-interval", "0.9,1") == (4, [])
    assert len(set(made.values())) == 4
    none, (told,) = generate("none", "--target-guidance-scale", 8, "--guidance-interval", "0.0001,0.0002")
    one, notices = generate("one", "--target-guidance-scale", 1, "--guidance-rule", "zero_star")
    assert none == one == 3
    assert made["none"] == made["one"]
    assert told.startswith("guidance_interval=0.0001,0.0002 guides no step: they begin at the times 1, ")
    assert notices == ["guidance_rule=zero_star has no effect: it needs a guidance scale other than 1"]


def test_generate_makes_a_clip_of_the_asked_size(command, backbone_2b, box):
    out = box / "generated"
    flags = ("--backbone", backbone_2b, "--steps", 2, "--out", out, "--quiet")
    code, said, err = command("generate", "--prompt", PROMPT, "--size", "64x32", "--frames", 6, "--fps", 12, *flags)
    assert code == 0, err
    assert said == f"{out}/video.mp4\n"
    info = probe(out / "video.mp4")
    assert (info.size, info.frames, info.fps, info.has_audio) == ((32, 64), 6, 12, False)
    run = yaml.safe_load((out / "run.yaml").read_text(encoding="utf-8"))
    assert run["settings"]["target"] == PROMPT
    assert run["network_evaluations"] == 2 * 2
    before = (out / "video.mp4").read_bytes()
    assert command("generate", "prompt=" + PROMPT, "size=64x32", "--frames", 6, "--fps", 12, *flags)[0] == 0
    assert (out / "video.mp4").read_bytes() == before
    assert command("generate", "--prompt", PROMPT, "--size", "64x32", "--frames", 6, "--seed", 1, *flags)[0] == 0
    assert (out / "video.mp4").read_bytes() != before


# Staging by itself


def fill(folder: Path, *names: str, text: str = "new") -> None:
    for name in names:
        (folder / name).write_text(text, encoding="utf-8")


def test_two_runs_within_a_second_do_not_collide(tmp_path, monkeypatch):
    class Clock(outputs.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(outputs, "datetime", Clock)
    monkeypatch.chdir(tmp_path)
    with outputs.staging(None, "a") as one, outputs.staging(None, "a") as two, outputs.staging(None, "a") as three:
        made = []
        for index, stage in enumerate((one, two, three)):
            fill(stage.folder, "edit.mp4", text=str(index))
            made.append(stage.commit())
    names = ["2026-01-02_03-04-05", "2026-01-02_03-04-05-2", "2026-01-02_03-04-05-3"]
    assert [path.name for path in made] == names
    assert [(path / "edit.mp4").read_text() for path in made] == ["0", "1", "2"]
    assert sorted(path.name for path in (tmp_path / "outputs" / "a").iterdir()) == names


def test_nothing_shows_before_the_commit_and_nothing_stays_without_it(tmp_path):
    def interrupted():
        with outputs.staging(str(tmp_path / "a" / "b"), "clip") as stage:
            fill(stage.folder, "edit.mp4")
            assert not (tmp_path / "a" / "b").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_mounted_folder_is_written_from_inside(tmp_path):
    """A rename does not cross from one file system to another, so the stage lies inside a folder that is there."""
    out = tmp_path / "out"
    out.mkdir()
    with outputs.staging(str(out), "clip") as stage:
        assert stage.folder.parent == out
        fill(stage.folder, "edit.mp4", "run.yaml")
        stage.commit()
    assert {path.name for path in out.iterdir()} == {"edit.mp4", "run.yaml"}


def test_only_the_files_of_the_same_command_are_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "edit.mp4", "mask.mp4", "video.mp4", "run.yaml", "mine.mp4", text="old")
    with outputs.staging(str(out), "clip", outputs.EDIT) as stage:
        fill(stage.folder, "edit.mp4", "run.yaml")
        stage.commit()
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "edit.mp4": "new",
        "run.yaml": "new",
        "video.mp4": "old",
        "mine.mp4": "old",
    }


def test_what_is_read_or_not_ours_is_kept(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    fill(out, "mask.mp4", text="my own mask")
    with pytest.raises(FileExistsError, match="no earlier run"), outputs.staging(str(out), "clip"):
        pass
    fill(out, "run.yaml")
    os.link(out / "mask.mp4", tmp_path / "link.mp4")
    inputs = [str(tmp_path / "link.mp4")]
    with pytest.raises(FileExistsError, match="would replace"), outputs.staging(str(out), "clip", inputs=inputs):
        pass
    assert (out / "mask.mp4").read_text() == "my own mask"


@pytest.mark.parametrize("files", [outputs.EDIT, outputs.UPSCALE])
def test_what_is_read_is_kept_where_it_lies_in_a_folder_that_goes(tmp_path, files):
    """`commit` removes the folders of an earlier run whole: clip, mask or settings in one of them would go with it."""
    name = next(name for name in reversed(files) if name in outputs.FOLDERS)
    within = tmp_path / "out" / name / "deep"
    within.mkdir(parents=True)
    fill(within, "1.png")
    fill(tmp_path / "out", "run.yaml")
    fill(tmp_path, "elsewhere.png")
    (within / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "way").symlink_to(tmp_path / "out")
    lost = (within, within / "1.png", within / "link.png", tmp_path / "way" / name / "deep" / "1.png")
    for read in map(str, lost):
        with pytest.raises(FileExistsError, match=r"would replace .*choose another folder"):
            outputs.check_place(str(tmp_path / "out"), files, [read])
        with pytest.raises(FileExistsError, match="would replace"):
            outputs.check_place(str(tmp_path / "way"), files, [read])
    for read in (tmp_path, tmp_path / "out", tmp_path / "elsewhere.png", tmp_path / "none.png"):
        outputs.check_place(str(tmp_path / "out"), files, [str(read)])


@pytest.mark.parametrize("role", ["clip", "mask", "like"])
def test_an_edit_deletes_nothing_that_it_is_given(command, clip_file, tmp_path, role):
    frames = tmp_path / "out" / "edit_frames"
    frames.mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(frames / f"{number}.png"), np.zeros((64, 96, 3), np.uint8))
    fill(tmp_path / "out", "run.yaml", text="{}")
    prompts = ("--source", "a", "--target", "b")
    given = {
        "clip": (frames / "1.png", *prompts),
        "mask": (clip_file, "--user-mask", frames / "1.png", *prompts),
        "like": (clip_file, "--like", tmp_path / "like.yaml", *prompts),
    }[role]
    (tmp_path / "like.yaml").symlink_to(frames / "like.yaml")
    fill(frames, "like.yaml", text="settings: {seed: 7}")
    code, _, err = command("edit", *given, "--out", tmp_path / "out", "--strength", 0, "--size", "48x32", "--quiet")
    assert code == 1
    assert "would replace" in err
    assert len(err.strip().splitlines()) == 1
    assert len(list(frames.iterdir())) == 3


MADE = {"edit": outputs.EDIT, "generate": outputs.GENERATE, "upscale": outputs.UPSCALE}


@pytest.mark.parametrize("kind", MADE)
def test_a_folder_of_another_kind_is_refused_and_one_of_the_same_is_used_again(tmp_path, kind):
    """Each kind has a run.yaml: the settings of an edit are gone once an upscaled clip lies beside it."""
    out = tmp_path / "out"
    with outputs.staging(str(out), "clip", MADE[kind], kind=kind) as stage:
        fill(stage.folder, MADE[kind][0])
        assert stage.told({"seed": 7}) == {"kind": kind, "seed": 7}
        stage.commit()
    assert yaml.safe_load((out / "run.yaml").read_text()) == {"kind": kind, "seed": 7}
    for other in outputs.KINDS:
        files = MADE.get(other, ("run.yaml", "table.txt"))
        if other == kind:
            outputs.check_place(str(out), files, kind=other)
            continue
        with pytest.raises(FileExistsError, match=rf"holds .*choose another folder, such as '.*out_{other}'"):
            outputs.check_place(str(out), files, kind=other)


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        ({"summary": None, "network_evaluations": 1, "clip": {"file": "a"}, "settings": {}}, {"edit"}),
        ({"network_evaluations": 1, "clip": None, "settings": {}}, {"generate"}),
        ({"notices": [], "upscale": "lanczos", "factor": 2.0, "clip": "a"}, {"upscale"}),
        ({"dataset": "a"}, {*outputs.KINDS}),
        ("old", {*outputs.KINDS}),
    ],
)
def test_a_run_yaml_that_says_no_kind_is_told_by_what_it_holds(tmp_path, told, kinds):
    outputs.write_yaml(tmp_path / "run.yaml", told) if isinstance(told, dict) else fill(tmp_path, "run.yaml", text=told)

    def taken(kind):
        try:
            outputs.check_place(str(tmp_path), ("run.yaml",), kind=kind)
        except FileExistsError:
            return False
        return True

    assert {kind for kind in outputs.KINDS if taken(kind)} == kinds


def test_yaml_keeps_every_character(tmp_path):
    data = {"text": PROMPT + "\t\u200f\u2028'\x85", "number": 1.5, "none": None, "list": [1, "a"]}
    outputs.write_yaml(tmp_path / "run.yaml", data)
    written = (tmp_path / "run.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(written) == data
    assert "= 狐狸" in written


def test_a_folder_in_the_place_of_a_result_is_refused_before_any_work(tmp_path):
    (tmp_path / "edit.mp4").mkdir()
    (tmp_path / "run.yaml").write_text("ours")
    with pytest.raises(FileExistsError, match=r"holds a folder named edit\.mp4"):
        outputs.check_place(str(tmp_path), outputs.EDIT)


@pytest.mark.parametrize(
    ("there", "last"), [("edit.mp4", "edit.mp4"), ("edit.gif", "edit.gif"), ("edit_frames", "edit_frames")]
)
def test_the_last_line_names_what_is_like_the_clip(tmp_path, there, last):
    for name in ("edit.mp4", "compare.mp4", there):
        (tmp_path / name).touch()
    assert outputs.delivered(tmp_path / "edit.mp4") == tmp_path / last
    assert outputs.delivered(tmp_path / "video.mp4") == tmp_path / "video.mp4"
