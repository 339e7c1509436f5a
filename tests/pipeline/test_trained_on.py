"""What a backbone was trained on decides how an edit runs by default, its noise, size and length; and it is said."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from releases import write_words

from flowedit.backbones import families, memory, presets
from flowedit.backbones.released import RELEASES
from flowedit.config.compose import compose
from flowedit.flow.windows import places
from flowedit.pipeline import plan
from flowedit.pipeline.notices import start
from flowedit.pipeline.notices.shape import of_shape, of_shots
from flowedit.pipeline.notices.start import Shape, of_download, of_start
from flowedit.pipeline.plan import default_size, how_to_lay, make_grid, native_size

PROMPTS = {"source": "a fox runs", "target": "a panda runs"}
LANDSCAPE, PORTRAIT, SQUARE, OLD_TV = (1080, 1920), (1920, 1080), (720, 720), (480, 640)


@pytest.fixture(scope="session")
def backbones(tmp_path_factory):
    """Every release, read from its own files on the CPU; nothing is loaded."""
    folder = tmp_path_factory.mktemp("words")
    return {name: families.load(write_words(folder / name, name), device="cpu") for name in RELEASES}


@pytest.fixture(scope="module")
def pocket():
    from flowedit.pipeline.run import load_backbone

    return load_backbone(compose({}))


def grids(backbones, options):
    """Of those that know noise alone, and have no steps of their own as students have, and pictures in some modes."""
    whole = {name: each for name, each in backbones.items() if not each.spec.still and not each.spec.mean}
    made = {name: each for name, each in whole.items() if each.knots[0] == 1}
    return [make_grid(compose({**PROMPTS, "backbone": name, **options}), each) for name, each in made.items()]


# Noise


@pytest.mark.parametrize("mode", ["inversion_free", "flowdirector_v1"])
def test_an_edit_starts_at_flowdirector_s_noise_on_every_backbone(backbones, mode):
    for grid in grids(backbones, {"mode": mode}):
        assert len(grid) == 41
        assert grid[0] == pytest.approx(0.979, abs=0.001)


@pytest.mark.parametrize(
    ("mode", "begins"), [("flowedit", 0.8534), ("wan_edit", 0.9211), ("flowalign", 1.0), ("flowdirector_v2", 1.0)]
)
def test_a_preset_starts_at_its_published_noise_on_every_backbone(backbones, mode, begins):
    """n_max 33 of 50 on Stable Diffusion 3's grid, 35 of 50 on Wan's shifted by 5; the others skip none."""
    for grid in grids(backbones, {"mode": mode}):
        assert grid[0] == pytest.approx(begins, abs=1e-4)


@pytest.mark.parametrize("grid", ["model", "uniform", "shifted"])
@pytest.mark.parametrize("strength", [0.1, 0.8, 1.0])
@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_a_strength_is_the_same_noise_on_every_backbone(backbones, mode, grid, strength):
    made = grids(backbones, {"mode": mode, "mode.grid": grid, "strength": strength})
    assert len({len(each) for each in made}) == 1  # and the same cost
    first = [each[0] for each in made]
    assert max(first) - min(first) < 0.001
    if grid == "model":
        assert first[0] == pytest.approx(3 * strength / (1 + 2 * strength), abs=0.001)


@pytest.mark.parametrize("strength", [0.1, 0.8, 1.0])
@pytest.mark.parametrize("name", ["modelscope-1.7b", "zeroscope-v2-576w", "zeroscope-v2-xl"])
def test_what_does_not_know_noise_alone_starts_at_the_same_noise_or_at_its_largest(backbones, name, strength):
    settings = compose({**PROMPTS, "backbone": name, "mode.grid": "model", "strength": strength})
    wanted = min(3 * strength / (1 + 2 * strength), float(backbones[name].knots[0]))
    assert make_grid(settings, backbones[name])[0] == pytest.approx(wanted, abs=0.002)


def test_strength_1_is_the_model_s_own_grid_to_the_bit(backbones):
    from flowedit.flow import schedule

    for name in ("cogvideox-2b", "cogvideox-5b"):
        settings = compose({**PROMPTS, "backbone": name, "mode": "random_noise", "strength": 1})
        assert make_grid(settings, backbones[name]) == schedule.model(backbones[name].knots, 50)


@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise"])
def test_pocket_keeps_the_grid_that_it_was_measured_on(pocket, mode):
    from flowedit.flow import schedule

    settings = compose({**PROMPTS, "mode": mode, "quality": "best"})
    whole = schedule.model(pocket.knots, settings.steps)
    assert make_grid(settings, pocket) == schedule.start(whole, settings.strength)


# Sizes


@pytest.mark.parametrize("clip", [LANDSCAPE, PORTRAIT, SQUARE, OLD_TV])
@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b"])
def test_cogvideox_runs_at_the_size_that_it_was_trained_at(backbones, name, clip):
    size = (768, 1360) if "1.5" in name else (480, 720)
    assert default_size(backbones[name].spec, clip) == size
    assert how_to_lay(compose(PROMPTS), clip, size) == ("pad" if clip == PORTRAIT else "crop")
    for asked in ("crop", "pad"):
        assert how_to_lay(compose({**PROMPTS, "fit": asked}), clip, size) == asked


def test_wan_runs_at_its_area_in_the_clip_s_aspect(backbones):
    spec = backbones["wan2.1-t2v-1.3b"].spec
    assert default_size(spec, (480, 832)) == (480, 832)
    assert default_size(spec, (832, 480)) == (832, 480)


def said(backbone, frames=49, options=()):
    settings = compose({**PROMPTS, **dict(options)})
    geometry = backbone.geometry(frames, settings.frame_size or native_size(backbone.spec))
    windows = plan.windows_of(settings, backbone.spec, geometry.latent[1])
    return of_shape(settings, backbone.spec, geometry, windows)


@pytest.mark.parametrize("name", ["cogvideox-2b", "cogvideox-5b", "cogvideox1.5-5b"])
def test_another_size_than_the_trained_one_is_told(backbones, name):
    own = "1360x768" if "1.5" in name else "720x480"
    assert not any("trained at" in text for text in said(backbones[name]))
    (text,) = [text for text in said(backbones[name], options={"size": "768x448"}) if "trained at" in text]
    assert own in text
    assert "768x448" in text


def test_a_length_that_1_5_was_not_trained_on_is_told(backbones):
    model = backbones["cogvideox1.5-5b"]
    for frames in (17, 33, 49, 81, 161):
        assert not any("16 n + 1" in text for text in said(model, frames))
    (text,) = [text for text in said(model, 41) if "16 n + 1" in text]
    assert "--frames 33 or 49" in text
    assert not any("n + 1" in text for name in ("cogvideox-2b", "wan2.1-t2v-14b") for text in said(backbones[name], 41))


def test_a_portrait_clip_that_is_padded_is_told(backbones):
    from flowedit.media.fit import lay

    spec = backbones["cogvideox-2b"].spec

    def of(how, fit):
        settings = compose({**PROMPTS, "fit": fit})
        geometry = backbones["cogvideox-2b"].geometry(49, (480, 720))
        shot = plan.Shot(0, None, geometry, lay(PORTRAIT, (480, 720), how), tuple(places(13, 13, 0.0, 1)))
        return of_shots(plan.Plan(plan.brief(settings), spec, (1.0, 0.0), None, (shot,)))

    (text,) = [text for text in of("pad", "auto") if "padded" in text]
    assert "720x480" in text
    assert "--fit crop" in text
    assert not any("padded" in text for text in (*of("pad", "pad"), *of("crop", "auto")))


# The line at the start


class Listener:
    def __init__(self):
        self.lines = []

    def start(self, text):
        self.lines.append(text)

    def phase(self, name, total): ...
    def advance(self, count=1): ...
    def notice(self, text): ...


def test_an_edit_says_in_one_line_what_it_is_about_to_do(clip_file, backbone_2b, tmp_path):
    import flowedit

    heard = Listener()
    result = flowedit.edit(
        clip_file, **PROMPTS, backbone=backbone_2b, steps=5, size="96x64", frames=9, out=tmp_path / "out", monitor=heard
    )
    (line,) = heard.lines
    for part in (
        backbone_2b.name,
        "the CPU",
        "float32",
        "96x64",
        "9 frames in 1 window",
        "4 of 5 steps (strength 0.8)",
        "noise 0.98",
    ):
        assert part in line
    assert f"{result.run['network_evaluations']} network evaluations" in line
    assert result.run["summary"] == line
    assert line not in result.run["notices"]


def test_the_line_counts_windows_and_shots_and_names_the_memory(clip_file, pocket):
    from flowedit.pipeline.plan import brief, make_plan
    from flowedit.pipeline.source import open_clip

    settings = compose({**PROMPTS, "clip": str(clip_file), "quality": "best", "steps": 5})
    made = make_plan(brief(settings), pocket, open_clip(settings), [2])
    shape = Shape.of(made)
    line = of_start(brief(settings), pocket, shape, made.evaluations)
    assert "12 frames in 3 windows, 2 shots, 4 of 5 steps (strength 0.8) from noise 0.881, " in line
    assert "expects" not in line  # half a gibibyte is not worth a word
    channels, frames, height, width = shape.seen
    large = replace(shape, seen=(channels, frames, 20 * height, 20 * width))
    line = of_start(brief(settings), pocket, large, made.evaluations)
    drawn, load = memory.of_folder(Path(pocket.describe()["folder"])), plan.load_of(brief(settings), large.seen)
    need = presets.need(drawn, load, settings.runtime, presets.CPU, None)
    assert f"expects {max(need.phases.values()):.1f} GiB of memory" in line


def test_the_line_says_what_a_strength_cuts_the_grid_to(clip_file, pocket):
    from flowedit.pipeline.plan import brief, make_plan
    from flowedit.pipeline.source import open_clip

    def said(**keys):
        settings = compose({**PROMPTS, "clip": str(clip_file), **keys})
        made = make_plan(brief(settings), pocket, open_clip(settings), [])
        return of_start(brief(settings), pocket, Shape.of(made), made.evaluations)

    assert ", 16 of 20 steps (strength 0.8) from noise 0." in said(steps=20, strength=0.8)
    assert ", 20 steps from noise 1, " in said(steps=20, strength=1)
    assert ", 0 of 20 steps (strength 0), 0 network evaluations" in said(steps=20, strength=0)
    given = {"mode.grid": "given", "mode.times": [1.0, 0.5, 0.0]}
    assert ", 1 of 2 steps (strength 0.5) from noise 0.5, " in said(strength=0.5, **given)


def test_a_download_is_told_before_it_starts(monkeypatch, tmp_path):
    from flowedit.pipeline import run

    heard = []
    monkeypatch.setattr(families, "downloaded", lambda *_: None)
    monkeypatch.setattr(families, "download", lambda *_: tmp_path if heard else pytest.fail("not told before"))
    settings = compose({"backbone": "cogvideox-5b"}, ["runtime.device=cpu"])
    assert run.checkpoint(settings, say=heard.append) == tmp_path
    (line,) = heard
    for part in ("21.5 GB", "zai-org/CogVideoX-5b", "CogVideoX License", "at 720x480 it", "on the CPU", "reckoned"):
        assert part in line


def test_before_a_download_a_card_is_told_what_fits(monkeypatch):
    settings = compose({"backbone": "cogvideox-5b"})
    for free, words in ((7.5, "it fits with gpu_12gb: needs 5.4 of 7.5 GiB"), (3.0, "it does not fit: needs 5.4 GiB")):
        monkeypatch.setattr(start, "free_memory", lambda _, free=free: free)
        assert words in of_download(settings, torch.device("cuda"))
    unknown = replace(settings, backbone=replace(settings.backbone, name="someone/else"))
    assert "fit" not in of_download(unknown, torch.device("cuda"))
