"""What Python shows and says: notices by logging, one-line results, options refused by name, generation, many edits."""

import logging
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import flowedit

ONE = {"source": "a red square moves", "target": "a blue panda moves"}
FAST = {"steps": 2, "size": "48x32", "frames": 5, "runtime.device": "cpu"}


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **FAST)


def test_dir_shows_the_api_and_every_name_is_there():
    assert dir(flowedit) == sorted(flowedit.__all__)
    assert {"edit", "edit_frames", "load", "generate", "compare", "evaluate", "Editor"} <= set(dir(flowedit))
    for name in flowedit.__all__:
        assert getattr(flowedit, name) is not None
        assert name == "__version__" or getattr(flowedit, name).__doc__
    with pytest.raises(AttributeError, match="did you mean 'edit_frames'"):
        _ = flowedit.edit_frame


def test_notices_reach_logging_the_result_and_the_monitor(editor, clip_file, tmp_path, caplog):
    heard = []

    class Heard:
        def phase(self, name, total): ...
        def advance(self, count=1): ...
        def start(self, text): ...
        def notice(self, text):
            heard.append(text)

    with caplog.at_level(logging.INFO, "flowedit"):
        result = editor.edit(clip_file, out=tmp_path / "o", monitor=Heard(), caption="a/b", **ONE, instruction=None)
    logged = [(each.levelno, each.getMessage()) for each in caplog.records if each.name == "flowedit"]
    said = [text for level, text in logged if level == logging.WARNING]
    assert result.notices
    assert list(result.notices) == said == heard == result.run["notices"]
    assert any("random weights" in text for text in said)
    assert [each for each in logged if each[1] not in said] == [(logging.INFO, result.run["summary"])]


def test_what_an_instruction_says_early_is_kept_too(editor, clip_file, tmp_path, caplog):
    words = {"source": "a dog runs", "instruction": "replace the dog with a fox", "caption": "some/model"}
    for made in (
        editor.edit(clip_file, out=tmp_path / "o", **words),
        editor.edit_frames(np.zeros((5, 32, 48, 3), np.uint8), **words),
    ):
        assert any("caption=some/model has no effect" in text for text in made.notices)
    assert sum("caption=some/model" in record.getMessage() for record in caplog.records) == 2


def test_a_script_that_asked_for_no_log_gets_none(backbone_2b, clip_file, tmp_path):
    script = (
        "import sys, flowedit; r = flowedit.edit(sys.argv[1], source='a', target='b', backbone=sys.argv[2], out='o',"
        "strength=0, size='48x32', frames=1); print(len(r.notices) > 0)"
    )
    command = [sys.executable, "-c", script, str(clip_file), str(backbone_2b)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, [line for line in done.stderr.splitlines() if "random weights" in line]) == ("True\n", [])


def test_results_are_shown_in_one_short_line(editor, clip_file, tmp_path):
    result = editor.edit(clip_file, out=tmp_path / "o", **ONE)
    shown = repr(result)
    assert re.fullmatch(r"EditResult\('.*edit\.mp4', \d+ network evaluations, \d+ notices?\)", shown), shown
    frames = editor.edit_frames(np.zeros((5, 32, 48, 3), np.uint8), **ONE)
    assert re.fullmatch(r"EditedFrames\(5 frames of 48x32, \d+ network evaluations, \d+ notices?\)", repr(frames))
    assert re.fullmatch(r"Editor\('.*' on cpu\)", repr(editor))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flowedit.edit("none.mp4", stepps=3), "unknown key 'stepps'; did you mean 'steps'"),
        (lambda: flowedit.edit("none.mp4", num_inference_steps=3), "here it is called steps"),
        (lambda: flowedit.load("pocket", device="cpu"), "here it is called runtime.device"),
        (lambda: flowedit.edit(np.zeros((5, 32, 48, 3), np.uint8)), "flowedit.edit_frames"),
        (lambda: flowedit.edit(None), "the clip is NoneType: give the path of a video file"),
        (lambda: flowedit.edit("none.mp4", user_mask=np.zeros(2)), "user_mask is an array .*height, width"),
        (lambda: flowedit.edit_frames(np.zeros((5, 32, 48, 3), np.uint8), out="x", **ONE), "out: frames in memory"),
        (lambda: flowedit.edit_frames([1], **ONE), "frames are list"),
        (lambda: flowedit.generate("a fox", strength=1), "generation has no strength"),
        (lambda: flowedit.generate("a fox", stepps=1), "did you mean 'steps'"),
        (lambda: flowedit.generate("  "), "no prompt"),
        (lambda: flowedit.generate(np.zeros(3)), "the prompt is an array: give a text"),
        (lambda: flowedit.generate(None), "the prompt is NoneType: give a text"),
        (lambda: flowedit.load(np.zeros(3)), "backbone is an array"),
        (lambda: flowedit.edit("none.mp4", user_mask=[np.zeros((4, 4))]), "user_mask is list: give the path of"),
        (lambda: flowedit.edit("none.mp4", source=np.zeros(3)), "source is an array"),
        (lambda: flowedit.compare(np.zeros(3)), "the clip is an array: give the path of a video file"),
        (lambda: flowedit.compare("none.mp4", score_mask=np.zeros(3)), "score_mask is an array: give the path"),
        (lambda: flowedit.evaluate(np.zeros(3)), "the dataset is an array: give the path of"),
        (lambda: flowedit.evaluate(None), "the dataset is NoneType: give the path of"),
        (lambda: flowedit.compare("none.mp4", mode="inversion"), r"modes=\[...\]"),
        (lambda: flowedit.compare("none.mp4", scenes=3), "compare has no scenes"),
        (lambda: flowedit.compare("none.mp4", stepps=3, **ONE), "did you mean 'steps'"),
        (lambda: flowedit.evaluate("none.yaml", source="a fox"), "each clip of a dataset brings its own"),
        (lambda: flowedit.evaluate("none.yaml", modes=["inverson"]), "'inversion'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(flowedit.Error, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


LARGE = {"backbone": "cogvideox-2b", "runtime.device": "cpu"}


@pytest.mark.parametrize(
    "call",
    [
        lambda clip: flowedit.load(**LARGE),
        lambda clip: flowedit.edit(clip, **LARGE, **ONE),
        lambda clip: flowedit.generate("a fox", **LARGE),
        lambda clip: flowedit.compare(clip, **LARGE, **ONE),
    ],
)
def test_a_download_is_told_whatever_asks_for_it(call, clip_file, tmp_path, monkeypatch, caplog):
    def stop(*_):
        raise flowedit.DownloadError(caplog.text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flowedit.backbones.families.downloaded", lambda *_: None)
    monkeypatch.setattr("flowedit.backbones.families.download", stop)
    with pytest.raises(flowedit.DownloadError, match=r"cogvideox-2b: 13.8 GB to download first"):
        call(clip_file)


def test_generation_is_that_of_the_command_line(command, backbone_2b, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = flowedit.generate("a fox", backbone=backbone_2b, steps=2, size="48x32", frames=5, seed=3, out="python")
    assert repr(made).startswith("GeneratedClip('python/video.mp4', ")
    assert made.notices
    code, out, _ = command(
        "generate", "a fox", "--backbone", backbone_2b, "steps=2", "--size", "48x32", "--frames", 5, "--seed", 3,
        "--out", "line",
    )  # fmt: skip
    assert (code, out) == (0, "line/video.mp4\n")
    assert made.video.read_bytes() == (tmp_path / "line" / "video.mp4").read_bytes()


def test_many_edits_are_those_of_the_command_line(command, backbone_2b, clip_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(clip_file.read_bytes())
    (tmp_path / "edits.yaml").write_text("- {clip: clip.mp4, source: a dog, target: a fox}\n", encoding="utf-8")
    shared = {"backbone": backbone_2b, "steps": 2, "size": "48x32", "frames": 5}
    both = {"modes": ["inversion_free", "random_noise"], "metrics": "psnr"}
    flags = ("--backbone", backbone_2b, "steps=2", "--size", "48x32", "--frames", 5)
    flags += ("--modes", "inversion_free,random_noise", "--metrics", "psnr", "--out", "line")
    made = flowedit.compare("clip.mp4", source="a dog", target="a fox", out="python", **both, **shared)
    code, _, err = command("compare", "clip.mp4", "--source", "a dog", "--target", "a fox", *flags)
    assert code == 0, err
    both_rows = [
        [line for line in (tmp_path / place / "rows.jsonl").read_text().splitlines() if "psnr" in line]
        for place in ("python", "line")
    ]
    assert both_rows[0] == both_rows[1]
    assert len(both_rows[0]) >= 2
    assert made.page.is_file()
    assert "\n" not in repr(made)
    assert made.names == ("inversion_free", "random_noise")
    made = flowedit.evaluate("edits.yaml", out="many", do="edit", engine="local", **both, **shared)
    assert (made.failed, made.folder.name) == (False, "many")


def test_openmp_waits_asleep_unless_the_user_chose():
    script = "import os, flowedit; print(os.environ['OMP_WAIT_POLICY'], 'torch' in __import__('sys').modules)"
    for chosen, found in ((None, "passive False"), ("active", "active False")):
        env = {key: text for key, text in os.environ.items() if key != "OMP_WAIT_POLICY"}
        env |= {} if chosen is None else {"OMP_WAIT_POLICY": chosen}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env)
        assert done.stdout.strip() == found


def test_the_run_says_its_threads(editor, clip_file, tmp_path):
    assert editor.edit(clip_file, out=tmp_path / "o", **ONE).run["threads"] == 1
