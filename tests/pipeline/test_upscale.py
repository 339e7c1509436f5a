"""Upscaling: on an edit's way back into its clip, and `flowedit upscale` from file to file."""

import sys
import tracemalloc
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import flowedit
from flowedit import machine
from flowedit.config.compose import compose
from flowedit.media import fit
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.pipeline import resume
from flowedit.pipeline.upscaled import job
from flowedit.pipeline.upscaled.back import WayBack
from flowedit.upscaling.catalogue import UPSCALERS, Upscaler
from flowedit.upscaling.larger import Larger, Opened
from flowedit.upscaling.networks import TiledNetwork
from flowedit.upscaling.steady import cubic

CASES = Path(__file__).parents[1] / "data" / "cases"
PROMPTS = {"source": "a red square moves", "target": "a blue panda moves"}
WORDS = {"source_words": "square", "target_words": "panda"}
FAST = {"steps": 2, "source_guidance_scale": 1.0, "target_guidance_scale": 2.0, "size": "48x32", "frames": 5}


def sharpened(frame, size, wanted=None):
    """A cubic with its differences doubled, and a pattern that is the frame's own: what a network might make up."""
    plain = cubic(frame, size)
    grains = np.random.default_rng(int(frame.sum())).standard_normal((*size, 3)).astype(np.float32)
    return np.clip(plain + 0.5 * (plain - plain.mean()) + 4 * grains, 0, 255)


@pytest.fixture(autouse=True)
def inventor():
    """An upscaler `inventor` that makes things up, without weights; it counts the frames that it was given."""
    seen = []
    enlarge = lambda frame, size, wanted: seen.append(wanted) or sharpened(frame, size)  # noqa: E731
    UPSCALERS.add("inventor", Upscaler("made up", lambda device: enlarge))
    yield seen
    UPSCALERS.remove("inventor")


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu"})


def shown(path):
    video = probe(path)
    return np.concatenate(list(read(video, range(video.frames))))


def random(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("name", ["lanczos", "inventor"])
def test_outside_the_mask_the_way_back_is_blended_away_and_inside_it_is_the_upscalers(inventor, name, how):
    lies = fit.lay((60, 100), (16, 16), how)
    source, frames, mask = random(3, 60, 100, 3), random(3, 16, 16, 3), np.zeros((3, 60, 100), np.float32)
    mask[:, 20:40, 40:60] = 1
    made = WayBack(lies, Opened(name, None))(frames, source, mask)
    plain = fit.to_source(frames, source, lies)
    assert made.shape == source.shape
    assert np.abs(made[:, 22:38, 42:58].astype(int) - plain[:, 22:38, 42:58]).mean() > 2
    if name == "inventor":
        assert [wanted.shape for wanted in inventor] == [lies.back[0]] * 3
        assert all(0 < wanted.mean() < 0.6 for wanted in inventor)
    WayBack(lies, Opened(name, None))(frames, source, None)
    assert name == "lanczos" or inventor[-1] is None


def test_without_an_upscaler_the_way_back_is_the_plain_one():
    lies, source, frames = fit.lay((60, 100), (16, 16)), random(2, 60, 100, 3), random(2, 16, 16, 3)
    mask = np.ones((2, 60, 100), np.float32)
    np.testing.assert_array_equal(WayBack(lies, None)(frames, source, mask), fit.to_source(frames, source, lies))


def test_what_the_way_back_resizes():
    crop, pad = (fit.lay((60, 100), (16, 16), how) for how in ("crop", "pad"))
    assert crop.back == ((16, 16), (60, 60))
    assert pad.back == ((10, 16), (60, 100))
    assert crop.enlarges
    assert not fit.lay((16, 16), (16, 16)).enlarges
    assert not fit.lay((8, 8), (16, 16)).enlarges


def test_an_edit_is_upscaled_inside_its_mask_alone(editor, clip_file, inventor):
    source = np.concatenate(list(read(probe(clip_file), range(5))))
    mask = np.zeros(source.shape[1:3], np.uint8)
    mask[16:48, 20:60] = 255
    options = {**FAST, **PROMPTS, "user_mask": mask}
    plain, made = (editor.edit_frames(source, upscale=name, **options).frames for name in (None, "inventor"))
    np.testing.assert_array_equal(made[:, mask == 0], source[:, mask == 0])
    assert np.abs(made[:, mask > 0].astype(int) - plain[:, mask > 0]).mean() > 1
    assert len(inventor) == 5


@pytest.mark.parametrize("option", [{"size": "96x64"}, {"strength": 0}])
def test_an_upscaler_that_has_nothing_to_make_larger_is_told(editor, clip_file, inventor, option):
    source = np.concatenate(list(read(probe(clip_file), range(5))))
    made = editor.edit_frames(source, upscale="inventor", **(FAST | PROMPTS | option))
    assert [text for text in made.notices if text.startswith("upscale=inventor has no effect: ")]
    assert not inventor


def test_an_upscaler_that_is_none_is_refused_before_a_model_is_loaded(command, clip_file, tmp_path):
    for text, said in (("lanzcos", "did you mean 'lanczos'"), ("x.pth", "a pickle")):
        flags = ("--source", "a fox", "--target", "a panda", "--out", tmp_path / "o", "--upscale", text)
        code, _, err = command("edit", clip_file, *flags, "--backbone", "cogvideox-2b", "--quiet")
        assert code == 1
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_a_clip_is_made_larger_with_its_rate_its_length_and_its_sound(command, clip_file, tmp_path):
    code, out, err = command("upscale", clip_file, "1.5x", "--upscale", "lanczos", "--out", tmp_path / "o", "--quiet")
    assert (code, out.strip()) == (0, str(tmp_path / "o" / "video.mp4")), err
    made, own = probe(tmp_path / "o" / "video.mp4"), probe(clip_file)
    assert made.size == (96, 144)
    assert (made.frames, made.fps, made.has_audio) == (own.frames, own.fps, True)
    small = shown(clip_file)
    back = np.stack([np.asarray(Image.fromarray(frame).resize((96, 64), 4)) for frame in shown(made.path)])
    assert np.abs(back.astype(int) - small).mean() < 5
    told = yaml.safe_load((tmp_path / "o" / "run.yaml").read_text())
    assert (told["kind"], told["upscale"], told["factor"], told["size"]) == ("upscale", "lanczos", 1.5, "144x96")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("many",), "no number of times"),
        (("1",), "not larger"),
        (("9",), "not larger"),
        (("nan",), "not larger"),
        (("2", "3"), "one clip"),
        (("2", "steps=4"), "no steps"),
        (("2", "runtime.offload=blocks"), "no runtime.offload: leave it out"),
        (("2", "runtime.rows=2", "runtime.device=cpu"), "takes runtime.device and runtime.threads"),
        (("2", "runtime=cpu"), "no runtime: "),
    ],
)
def test_what_cannot_be_made_larger_is_told_in_one_line(command, clip_file, tmp_path, words, said):
    code, _, err = command("upscale", clip_file, *words, "--upscale", "lanczos", "--out", tmp_path / "o")
    assert code == 1
    assert said in err
    assert not (tmp_path / "o").exists()


def test_a_still_keeps_its_alpha_and_a_folder_its_names(command, tmp_path):
    pixels = random(20, 30, 4)
    pixels[:10, :, 3], pixels[10:, :, 3] = 0, 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert command("upscale", tmp_path / "a.png", "2", "--upscale", "lanczos", "--out", tmp_path / "o")[0] == 0
    made = np.asarray(Image.open(tmp_path / "o" / "picture.png"))
    assert made.shape == (40, 60, 4)
    assert (made[:18, :, 3] == 0).all()
    assert (made[22:, :, 3] == 255).all()
    (tmp_path / "row").mkdir()
    for number in (1, 2):
        Image.fromarray(pixels[..., :3]).save(tmp_path / "row" / f"frame_{number}.png")
    assert command("upscale", tmp_path / "row", "2", "--upscale", "lanczos", "--out", tmp_path / "p")[0] == 0
    assert [path.name for path in sorted((tmp_path / "p" / "video_frames").iterdir())] == ["frame_1.png", "frame_2.png"]
    assert probe(tmp_path / "p" / "video.mp4").size == (40, 60)


class Killed(BaseException):
    """What ends a process at any moment."""


class Killer:
    """A monitor that ends the run after so many frames."""

    def __init__(self, after):
        self.left, self.said = after, []

    def phase(self, name, total): ...

    def advance(self, count=1):
        self.left -= count
        if self.left <= 0:
            raise Killed

    def notice(self, text):
        self.said.append(text)


def run_of(clip, out, after=100, **options):
    """A clip made twice as large by `inventor`, ended after so many frames; what it gives, and what was said."""
    told = {"clip": clip, "upscale": "inventor", "out": str(out), "runtime.device": "cpu", **options}
    monitor = Killer(after)
    return job.upscale_clip(compose(told), 2, monitor), monitor.said


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(clip_file, tmp_path, inventor):
    whole, _ = run_of(clip_file, tmp_path / "whole")
    asked = len(inventor)
    with pytest.raises(Killed):
        run_of(clip_file, tmp_path / "killed", 8)
    assert not (tmp_path / "killed").exists()
    again, said = run_of(clip_file, tmp_path / "killed")
    assert any("goes on where it stopped" in text for text in said)
    assert len(inventor) == asked + asked  # what was killed asked for 8 of 12, and what went on for the rest
    assert again.video.read_bytes() == whole.video.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


@pytest.mark.parametrize("changed", ["code", "module", "package"])
def test_a_run_that_was_killed_starts_anew_by_other_code(clip_file, tmp_path, inventor, monkeypatch, changed):
    """Frames of two upscalers in one clip are no clip: what made them is known by its code and its packages."""
    module = ModuleType("upscaler_of_ours")
    module.__file__ = str(tmp_path / "upscaler_of_ours.py")
    Path(module.__file__).write_text("1", encoding="utf-8")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    enlarge = UPSCALERS["inventor"].open(None)

    def opened(device):
        return enlarge

    opened.__module__ = module.__name__
    UPSCALERS.remove("inventor")
    UPSCALERS.add("inventor", Upscaler("made up", partial(opened), packages=("numpy",)))
    with pytest.raises(Killed):
        run_of(clip_file, tmp_path / "killed", 8)
    made = len(inventor)
    if changed == "code":
        monkeypatch.setattr(resume, "_code", lambda: "other")
    elif changed == "module":
        Path(module.__file__).write_text("2, and longer", encoding="utf-8")
    else:
        monkeypatch.setattr(machine, "_version", lambda name: "0.0" if name == "numpy" else "1.0")
    _, said = run_of(clip_file, tmp_path / "killed")
    assert len(inventor) == made + 12
    assert any(f"differs in {'versions' if changed == 'package' else 'code'}" in text for text in said)


def test_frames_that_an_even_rate_chooses_are_no_others(tmp_path, inventor):
    """Of a clip whose frames come unevenly --fps chooses others, though it may be the rate that is meant."""
    path = CASES / "vfr_drop.mp4"
    own = probe(path)
    with pytest.raises(Killed):
        run_of(path, tmp_path / "killed", 8, **{"frames": 10})
    made = len(inventor)
    run_of(path, tmp_path / "killed", **{"frames": 10, "fps": str(own.fps)})
    assert len(inventor) == made + 10


def test_frames_that_do_not_fit_into_memory_are_refused(clip_file, tmp_path, inventor, monkeypatch):
    heard = []
    monkeypatch.setattr(Killer, "start", lambda self, text: heard.append(text), raising=False)
    size, video, by = (128, 192), probe(clip_file), UPSCALERS["inventor"]
    needed = job.memory_of(size, compose({}), video, by)
    assert needed == pytest.approx(250 * 128 * 192 / 2**30)
    monkeypatch.setattr(job, "of_host", lambda: (needed * 0.9, 8.0))
    with pytest.raises(flowedit.InputError, match=r"frames of 192x128 need about .* GiB of memory, and .* are free"):
        run_of(clip_file, tmp_path / "out")
    assert [*inventor, *heard, *tmp_path.iterdir()] == []
    for free in (needed * 1.1, None):
        monkeypatch.setattr(job, "of_host", lambda free=free: (free, 8.0))
        run_of(clip_file, tmp_path / "out", frames=1)
    assert heard[0].startswith("96x64 to 192x128 by inventor, on the CPU")


def test_a_network_takes_the_memory_that_is_reckoned():
    network = TiledNetwork(torch.nn.Upsample(scale_factor=4), 4, torch.device("cpu"))
    larger = Larger(SimpleNamespace(enlarge=network, invents=True))
    frames, size = random(2, 160, 120, 3), (640, 480)
    larger(frames[:1], size)
    tracemalloc.start()
    try:
        larger(frames[1:], size)
        most = tracemalloc.get_traced_memory()[1] / (size[0] * size[1])
    finally:
        tracemalloc.stop()
    assert 50 < most < job.PLAIN + job.INVENTED
