"""Presets: the published numbers, who wins over whom, what they cost, and that each runs on a checkpoint."""

from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from edits import edited, steered
from fields import ToyBackbone

import flowedit
from flowedit.config import compose
from flowedit.editors.corrections import decoupled
from flowedit.editors.spec import EDITORS
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.evaluation.methods import methods
from flowedit.evaluation.options import EvaluationOptions, evaluation
from flowedit.flow.noise import gaussian
from flowedit.media import pixels, probe, reader
from flowedit.media.writer import Writer
from flowedit.pipeline import region
from flowedit.pipeline.checks import check_editor
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, make_grid, network_evaluations, own_latents
from flowedit.types import Geometry

ROOT = Path(__file__).resolve().parents[2]

PROMPTS = {"source": "a red fox runs", "target": "a big panda runs"}
WORDS = {"source_words": "fox", "target_words": "panda"}
FULL = {"backbone": "cogvideox-2b", **PROMPTS, **WORDS}
X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
GRID = {"mode.grid": "shifted", "steps": 50}
FLOWDIRECTOR = {
    "steps": 50,
    "mode.grid": "shifted",
    "mode.shift": 12.0,
    "mode.target_only_steps": 0,
    "source_guidance_scale": 3.5,
    "target_guidance_scale": 10.5,
    "averaging.baseline_size": 2,
    "mask.name": "attention",
    "mask.blocks": (18 / 30,),
    "mask.threshold": "mean",
    "mask.pool": pytest.approx(11 / 60, rel=1e-4),
    "mask.decay": 0.25 * 60,
    "mask.over_draws": "union",
    "mask.preserve": False,
}
FLOWEDIT = {"draws": 1, "averaging.name": "mean", "mask.name": "none", "mode.direction_aware": False, **GRID}
NUMBERS = {
    "flowdirector_v1": (
        640,
        FLOWDIRECTOR
        | {
            "strength": 0.8,
            "draws": 4,
            "averaging.baseline": "first",
            "averaging.weight": 2.75 - 1,
            "mode.fixed_noise_steps": 0,
        }
        | {"mode.direction_aware": False, "mode.decoupling": 0.0},
    ),
    "flowdirector_v2": (
        536,
        FLOWDIRECTOR
        | {
            "strength": 1.0,
            "draws": 3,
            "averaging.baseline": "least_aligned",
            "averaging.weight": 2.75,
            "mode.fixed_noise_steps": 8,
        }
        | {"mode.direction_aware": True, "mode.direction_alpha": 0.25, "mode.direction_patch": 1}
        | {"mode.decoupling": 0.01, "mode.decoupling_appearance": 0.3},
    ),
    "flowedit": (
        4 * 33,
        FLOWEDIT | {"mode.shift": 3.0, "strength": 0.66, "source_guidance_scale": 3.5, "target_guidance_scale": 13.5},
    ),
    "wan_edit": (
        4 * 35,
        FLOWEDIT | {"mode.shift": 5.0, "strength": 0.7, "source_guidance_scale": 5.0, "target_guidance_scale": 10.0},
    ),
    "dfvedit": (
        4 * 49,
        FLOWEDIT
        | {"mode.shift": 5.0, "strength": 0.98, "source_guidance_scale": 5.0, "target_guidance_scale": 15.0}
        | {"mode.coupling": 0.0},
    ),
    "flowslider": (
        3 * 20,
        FLOWEDIT
        | {"mode.shift": 3.0, "steps": 28, "strength": 0.715, "edit_strength": 1.0, "target_guidance_scale": 3.5},
    ),
    "flowalign": (
        3 * 33,
        FLOWEDIT
        | {"mode.shift": 3.0, "steps": 33, "strength": 1.0}
        | {"source_guidance_scale": 1.0, "target_guidance_scale": 13.5, "mode.target_negative": "source"}
        | {"mode.decoupling": 0.01, "mode.decoupling_appearance": 0.0},
    ),
}
ATTENTION = {  # what they do to the network is seen in tests/pipeline/test_attending.py
    "rf_solver_edit": (
        25 * 2 * (1 + 2),
        {"mode.name": "inversion", "mode.solver": "midpoint", "mask.name": "none", "steps": 25, "strength": 1.0}
        | {"mode.grid": "shifted", "mode.shift": 7.0, "source_guidance_scale": 1.0, "target_guidance_scale": 6.0}
        | {"attention.values": 1.0, "attention.values_inside": 1.0, "attention.values_steps": (0.0, 5 / 25)}
        | {"attention.keys": 0.0, "attention.queries": 0.0, "attention.blocks": (pytest.approx(41 / 60, abs=1e-3), 1)},
    ),
    "adaedit": (
        (15 + 1) * (1 + 2),
        {
            "mode.name": "inversion",
            "mode.solver": "fireflow",
            "steps": 15,
            "strength": 1.0,
            "target_guidance_scale": 4.0,
        }
        | {"attention.keys": 1.0, "attention.values": 1.0, "attention.queries": 0.0, "attention.fade": 5.0}
        | {f"attention.{name}_inside": pytest.approx(1 - 0.9) for name in ("keys", "values")}
        | {f"attention.{name}_steps": (0.0, pytest.approx(4 / 15, abs=0.01)) for name in ("keys", "values")},
    ),
    "consistedit": (
        50 * 4,
        {"steps": 50, "strength": 1.0, "source_guidance_scale": 6.0, "target_guidance_scale": 6.0}
        | {"attention.queries": 1.0, "attention.keys": 1.0, "attention.values": 1.0, "attention.fade": 0.0}
        | {"attention.keys_inside": 1.0, "attention.values_inside": 0.0, "attention.keys_steps": (0.0, 0.1)}
        | {"attention.values_steps": (0.0, 1.0), "attention.blocks": (0.0, 1.0)},
    ),
    "kv_lock": (
        50 * 4,
        {"steps": 50, "strength": 1.0, "attention.adapt": 0.01, "attention.queries": 0.0}
        | {"guidance_rule": "zero_star", "source_guidance_scale": 5.0, "target_guidance_scale": 10.0}
        | {f"attention.{name}": 1.0 for name in ("keys", "values")}
        | {f"attention.{name}_inside": 0.0 for name in ("keys", "values")}
        | {f"attention.{name}_steps": (1 - 20 / 50, 1.0) for name in ("keys", "values")},
    ),
    "flowanchor": (
        23 * 4,
        {"steps": 25, "strength": 0.92, "mode.grid": "shifted", "attention.anchor_words": 0.3}
        | {"attention.anchor_sites": 0.3, "attention.anchor_until": 0.6, "attention.blocks": (0.0, 1.0)}
        | {"attention.values": 0.0, "attention.word_weight": 1.0, "mode.amplify": 1.0},
    ),
}


def at(settings, key):
    return reduce(getattr, key.split("."), settings)


def edit(options, mask=None):
    """The settings' editor on the toy field, and the settings; with a mask of its own unless one is given."""
    settings, backbone = compose.compose({**PROMPTS, **WORDS, **options}), ToyBackbone()
    return edited(settings, backbone, X, X.shape[3:], mask)


def test_every_file_of_modes_is_an_editor_s_or_a_preset_that_says_its_own_name():
    names = set(compose.options("mode"))
    assert set(EDITORS) | set(NUMBERS) | set(ATTENTION) <= names
    for name in names:
        mode = compose.compose({"mode": name, **FULL}).mode
        assert mode.name in EDITORS
        assert mode.name == name if mode.preset is None else mode.preset == name


def test_compare_still_takes_the_three_modes():
    settings, _ = evaluation()
    assert isinstance(settings, EvaluationOptions)
    assert set(settings.chosen_modes) == {"random_noise", "inversion", "inversion_free"}


@pytest.mark.parametrize("preset", NUMBERS | ATTENTION)
def test_a_preset_carries_the_published_numbers(preset):
    cost, numbers = (NUMBERS | ATTENTION)[preset]
    settings = compose.compose({"mode": preset, **FULL})
    assert {key: at(settings, key) for key in numbers} == numbers
    assert (settings.mode.name, settings.mode.preset) == (numbers.get("mode.name", "inversion_free"), preset)
    assert network_evaluations(settings) == cost
    assert of_unused(brief(settings)) == []


@pytest.mark.parametrize("preset", NUMBERS | ATTENTION)
def test_a_preset_keeps_its_numbers_on_wan(preset):
    on = [compose.compose({"mode": preset, **FULL, "backbone": name}) for name in ("cogvideox-2b", "wan2.1-t2v-1.3b")]
    assert on[0].backbone != on[1].backbone
    assert replace(on[1], backbone=on[0].backbone) == on[0]


@pytest.mark.parametrize("preset", NUMBERS)
def test_a_backbone_that_knows_its_attention_keeps_its_place_in_a_preset(preset):
    pocket, full = (compose.compose({"mode": preset, "backbone": name}) for name in ("pocket", "cogvideox-2b"))
    own = compose.compose({"backbone": "pocket"}).mask
    assert (pocket.mask.blocks, pocket.mask.decay) == (own.blocks, own.decay) == ((0.2,), 8.0)
    for key in ("steps", "strength", "draws", "target_guidance_scale", "averaging", "mask.pool", "mask.name"):
        assert at(pocket, key) == at(full, key)
    # pocket keeps the grid that its numbers were measured on
    assert replace(pocket.mode, grid=full.mode.grid, shift=full.mode.shift) == full.mode


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mode": "flowdirector_v1", "averaging": "mean"}, {"averaging.name": "mean", "draws": 4}),
        ({"averaging": "differential", "mode": "flowdirector_v1"}, {"averaging.weight": 2.75, "draws": 4}),
        ({"mode": "flowdirector_v2", "mask": "none"}, {"mask.name": "none"}),
        ({"mask.threshold": "otsu", "mode": "flowdirector_v2"}, {"mask.threshold": "otsu"}),
        ({"mode": "flowdirector_v2", "draws": 5, "steps": 9}, {"draws": 5, "steps": 9}),
        ({"mode": "flowedit", "mask": "attention"}, {"mask.name": "attention"}),
        ({"mode": "flowedit", "averaging": "differential"}, {"draws": 3, "averaging.baseline": "least_aligned"}),
        ({"mode": "flowalign", "target_guidance_scale": 7.5}, {"target_guidance_scale": 7.5}),
        ({"mode": "wan_edit", "mode.grid": "uniform"}, {"mode.grid": "uniform", "mode.preset": "wan_edit"}),
    ],
    ids=str,
)
def test_what_a_user_sets_wins_over_a_preset(options, expected):
    by_flag = compose.compose({"backbone": "cogvideox-2b", **options})
    by_override = compose.compose({"backbone": "cogvideox-2b"}, [f"{key}={value}" for key, value in options.items()])
    assert {key: at(by_flag, key) for key in expected} == expected
    assert by_override == by_flag


def test_presets_are_compared_like_modes():
    made, _ = methods(["flowdirector_v2", "inversion"], ["mode=flowalign", "averaging=mean draws=1"], FULL)
    assert [method.name for method in made] == [
        "flowdirector_v2",
        "inversion",
        "flowalign",
        "flowdirector_v2 averaging=mean draws=1",
    ]
    assert [method.settings.mode.preset for method in made] == ["flowdirector_v2", None, "flowalign", "flowdirector_v2"]


@pytest.mark.parametrize("preset", ["flowdirector_v1", "flowdirector_v2"])
def test_the_weight_of_differential_guidance_moves_the_output(preset):
    options = {"mode": preset, "steps": 6, "mode.fixed_noise_steps": 1}
    own, none, less = (edit(options | w) for w in ({}, {"averaging.weight": 0}, {"averaging.weight": 1.0}))
    assert (own - none).norm() / none.norm() > 1e-2
    assert (own - less).norm() / none.norm() > 1e-3


@pytest.mark.parametrize(("preset", "draws"), [("flowdirector_v1", 4), ("flowdirector_v2", 3)])
def test_a_baseline_of_all_draws_is_refused(preset, draws):
    for options in ({"averaging.baseline_size": draws}, {"draws": 2}):
        settings = compose.compose({"mode": preset, **options})
        with pytest.raises(ValueError, match="cancels to nothing"):
            check_editor(brief(settings), 10)


@pytest.mark.parametrize("off", [{"averaging": "mean"}, {"averaging.weight": 0}], ids=str)
def test_version_1_without_mask_and_guidance_is_plain_averaging_to_the_bit(off):
    plain = {"mode": "inversion_free", "mode.grid": "shifted", "mode.shift": 12, "draws": 4, "mask": "none"}
    plain |= {"source_guidance_scale": 3.5, "target_guidance_scale": 10.5, "strength": 0.8}
    v1 = edit({"mode": "flowdirector_v1", "steps": 6, "seed": 7, **off}, mask=torch.ones(1, 1, *X.shape[2:]))
    assert torch.equal(v1, edit(plain | {"steps": 6, "seed": 7}))
    assert not torch.equal(v1, edit(plain | {"steps": 6, "seed": 8}))


@pytest.mark.parametrize("preset", NUMBERS)
def test_equal_sides_return_the_source_to_the_bit(preset):
    same = {"source": "a red fox", "target": "a red fox", "target_words": "red", "mode": preset, "steps": 10}
    if preset != "flowalign":  # whose target's guidance starts from the source prompt, and so vanishes
        same["source_guidance_scale"] = same["target_guidance_scale"] = 3.0
    assert torch.equal(edit(same), X)


def test_outside_the_mask_every_piece_of_version_2_keeps_the_source_to_the_bit():
    mask = torch.zeros(1, 1, *X.shape[2:])
    mask[..., 8:, :] = 1
    mask[:, :, 3] = 0  # a frame without the object, whose sites others edit
    z = edit({"mode": "flowdirector_v2", "steps": 10, "mode.decoupling": 0.3}, mask=mask)
    assert torch.equal(z[(mask == 0).expand_as(z)], X[(mask == 0).expand_as(X)])
    assert (z - X)[(mask == 1).expand_as(z)].abs().mean() > 1e-2


def test_decoupling_s_mean_over_time_counts_the_clip_s_own_frames():
    class Padded(ToyBackbone):
        spec = replace(ToyBackbone.spec, leading_latents=1)

    geometry = Geometry(source_frames=6, frames=9, size=(128, 192), latent=(3, 5, 16, 24))
    own = own_latents(Padded.spec, geometry)
    assert own == slice(1, 4)  # frame 0; 1 to 4; 5 and three repeats; then what the model's shape may add
    change = torch.arange(5.0).view(1, 1, 5, 1, 1)
    assert decoupled(1.0, 1.0, own)(change).flatten().tolist() == [-2, -1, 0, 1, 2]
    assert decoupled(1.0, 1.0, slice(0, 2))(change).flatten().tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


def test_an_edit_s_mean_over_time_leaves_out_the_latents_that_pad_its_clip(backbone_15, clip_file, tmp_path):
    """With zeta = phi = 1 one step to t = 0 leaves X + mean_time(D), where the plain step leaves X + D."""
    options = {"steps": 1, "strength": 1, "mask": "none", "size": "96x64", "frames": 5, "backbone": backbone_15}

    def change(zeta):
        pull = {"mode.decoupling": zeta, "mode.decoupling_appearance": 1.0}
        result = flowedit.edit(clip_file, out=tmp_path / str(zeta), **PROMPTS, **options, **pull)
        return result.latents - result.source_latents

    plain, held = change(0.0), change(1.0)
    own = slice(1, 3)  # after one that the model's shape adds, before those of padding
    assert plain.shape[2] == 4
    expected = plain[:, :, own].mean(2, keepdim=True)
    assert (held - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (plain.mean(2, keepdim=True) - expected).abs().max() > 0.1 * expected.abs().max()


def test_the_mask_s_mean_over_the_clip_leaves_them_out_too():
    options = {"steps": 1, "strength": 1, "mask.threshold": "mean", "mask.pool": 0, "source_words": "fox"}
    settings, backbone, own = compose.compose({**PROMPTS, **options}), ToyBackbone(), slice(1, 3)
    grid = make_grid(settings, backbone)
    mask = steered(settings, backbone, X, own).mask
    q = (1 - grid[0]) * X + grid[0] * gaussian(0, tuple(X.shape))(0, 0)
    prompt = backbone.embed(PROMPTS["source"])
    with backbone.record({prompt: [[2]]}, settings.mask.blocks) as maps:
        backbone.velocity(prompt)(q, grid[0])
        found = maps.take(prompt)
    assert torch.equal(mask == 1, found > found[:, :, own].mean())
    assert not torch.equal(mask == 1, found > found.mean())


def test_flowalign_is_its_rule():
    scale, zeta, steps = 13.5, 0.01, 5
    ours = edit({"mode": "flowalign", "steps": steps, "mode.grid": "uniform", "negative_prompt": "never read"})
    backbone = ToyBackbone()
    src, tgt = (backbone.velocity(backbone.embed(PROMPTS[side])) for side in ("source", "target"))
    noise, z = gaussian(0, tuple(X.shape)), X.clone()
    grid = [float(backbone.knots[0]) * (1 - i / steps) for i in range(steps)] + [0.0]
    for i in range(steps):
        t, h = grid[i], grid[i + 1] - grid[i]
        q = (1 - t) * X + t * noise(i, 0)
        p = q + (z - X)
        v_p = src(p, t) + scale * (tgt(p, t) - src(p, t))
        v_q = src(q, t)
        z = z + h * (v_p - v_q) + zeta * ((q - t * v_q) - (p - t * v_p))
    assert (z - X).norm() / X.norm() > 0.1
    assert (ours - z).abs().max() / z.abs().max() < 1e-5


def test_fixed_noise_is_one_noise_and_one_draw_in_the_last_steps():
    class Asked:
        def __init__(self):
            self.calls = []

        def __call__(self, step, draw):
            self.calls.append((step, draw))
            return gaussian(0, tuple(X.shape))(step, draw)

    def field(z, t):
        return torch.tanh(z) * t

    def asked(**options):
        noise = Asked()
        inversion_free(X, field, lambda z, t: -field(z, t), [0.9, 0.6, 0.3, 0.0], noise, **options)
        return noise.calls

    assert asked(draws=2, fixed_noise_steps=2) == [(0, 0), (0, 1), (1, 0), (1, 0)]
    assert asked(draws=2, fixed_noise_steps=1, target_only_steps=1) == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert asked(draws=2, fixed_noise_steps=9) == [(0, 0)] * 3
    with pytest.raises(ValueError, match="fixed_noise_steps -1"):
        asked(fixed_noise_steps=-1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "flowdirector_v2", "steps": 8}, ["averaging=differential", "draws=3"]),
        ({"mode": "flowdirector_v2", "steps": 9}, []),
        (
            {"mode": "flowdirector_v2", "mode.direction_aware": False, "mode.direction_patch": 2},
            ["mode.direction_patch=2"],
        ),
        ({"mode": "inversion_free", "mode.direction_alpha": 0.5}, ["mode.direction_alpha=0.5"]),
        ({"mode": "inversion_free", "mode.decoupling_appearance": 1.0}, ["mode.decoupling_appearance=1.0"]),
        ({"mode": "inversion_free", "mode.fixed_noise_steps": 1}, ["mode.fixed_noise_steps=1"]),
        ({"mode": "inversion_free", "mode.fixed_noise_steps": 2}, []),
        ({"mode": "flowalign", "negative_prompt": "blur"}, ["negative_prompt=blur"]),
        ({"mode": "flowalign", "negative_prompt": "blur", "source_guidance_scale": 2.0}, []),
        ({"mode": "flowalign", "target_negative_prompt": "blur"}, ["target_negative_prompt=blur"]),
        ({"mode": "flowedit", "target_negative_prompt": "blur"}, []),
        ({"mode": "flowedit", "edit_strength": 2.0, "target_negative_prompt": "dark"}, ["target_negative_prompt=dark"]),
        (
            {"mode": "inversion_free", "mode.target_negative": "source", "target_guidance_scale": 1.0},
            ["mode.target_negative=source"],
        ),
    ],
    ids=str,
)
def test_what_has_no_effect_is_said(options, said):
    assert {text.partition(" has no effect")[0] for text in of_unused(brief(compose.compose(FULL | options)))} == set(
        said
    )


@pytest.mark.parametrize(
    "options",
    [
        {"mode.fixed_noise_steps": -1},
        {"mode.direction_alpha": -2},
        {"mode.direction_patch": 0},
        {"mode.decoupling": 1.5},
        {"mode.decoupling_appearance": -0.1},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options):
    ((key, _),) = options.items()
    with pytest.raises(ValueError, match=f"{key} .* is out of range"):
        compose.compose(options)


def test_a_preset_is_a_mode_and_not_a_label():
    for key in ({"mode.preset": "flowedit"}, {"mode": "flowalign", "mode.preset": "flowedit"}):
        with pytest.raises(ValueError, match="mode=PRESET"):
            compose.compose(key)


def test_a_setting_of_the_editor_is_not_one_of_other_modes():
    with pytest.raises(ValueError, match=r"belongs to mode=inversion_free$"):
        compose.compose({"mode": "inversion"}, ["mode.decoupling=0.1"])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Nine frames of real footage at 832x480."""
    path = tmp_path_factory.mktemp("wide") / "wide.mp4"
    source = probe.probe(ROOT / "examples" / "cup.mp4")
    frames = np.concatenate(list(reader.read(source, range(9))))
    with Writer(path, (480, 832), source.fps) as writer:
        writer.write(pixels.resize(frames, (480, 832)))
    return path


@pytest.mark.parametrize("kind", ["2b", "5b", "15", "wan"])
@pytest.mark.parametrize("preset", NUMBERS)
def test_every_preset_runs_on_every_shape(request, clip_file, wide, tmp_path, preset, kind):
    folder = request.getfixturevalue(f"backbone_{kind}")
    clip_file = wide if kind in ("2b", "wan") else clip_file
    options = {"steps": 3, "size": "96x64", "frames": 9, "runtime.device": "cpu"}
    if preset == "flowdirector_v2":
        options["mode.fixed_noise_steps"] = 1
    result = flowedit.edit(clip_file, backbone=folder, mode=preset, out=tmp_path / "o", **PROMPTS, **WORDS, **options)
    assert probe.probe(result.video).frames == 9
    assert np.isfinite(result.latents.numpy()).all()
    assert not torch.equal(result.latents, result.source_latents)
    assert (result.mask is not None) == preset.startswith("flowdirector")
    run = yaml.safe_load((result.folder / "run.yaml").read_text(encoding="utf-8"))
    assert (run["settings"]["mode"]["name"], run["settings"]["mode"]["preset"]) == ("inversion_free", preset)
    cost = {"flowdirector_v1": 2 * 16, "flowdirector_v2": 2 * 12 + 4, "flowedit": 4, "wan_edit": 8, "flowalign": 9}
    cost |= {"dfvedit": 8, "flowslider": 6}
    assert result.run["network_evaluations"] == cost[preset]


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A frame of real footage at 480x832."""
    path = tmp_path_factory.mktemp("tall") / "tall.mp4"
    source = probe.probe(ROOT / "examples" / "cup.mp4")
    with Writer(path, (832, 480), source.fps) as writer:
        writer.write(pixels.resize(np.concatenate(list(reader.read(source, range(1)))), (832, 480)))
    return path


@pytest.mark.parametrize(
    ("preset", "kind", "shape"),
    [
        ("flowdirector_v1", "2b", "tall"),
        ("flowdirector_v1", "wan", "wide"),
        ("flowdirector_v2", "2b", "wide"),
        ("flowdirector_v2", "wan", "tall"),
    ],
)
def test_both_versions_run_at_their_native_size_with_the_paper_s_mask(
    request, monkeypatch, tmp_path, preset, kind, shape
):
    made, whole = [], region.attention_mask.AttentionMask

    def spy(*args, **more):
        mask = whole(*args, **more)
        made.append((mask._pool, mask._decay))
        return mask

    monkeypatch.setattr(region.attention_mask, "AttentionMask", spy)
    folder, path = request.getfixturevalue(f"backbone_{kind}"), request.getfixturevalue(shape)
    size, latent = {"wide": ("832x480", (60, 104)), "tall": ("480x832", (104, 60))}[shape]
    # The words of one side: the union over the draws of both holds nearly every site of these random maps.
    options = {"steps": 1, "strength": 1, "size": size, "frames": 1, "source_words": "fox", "runtime.device": "cpu"}
    if preset == "flowdirector_v2":
        options |= {"steps": 2, "mode.fixed_noise_steps": 1}
    result = flowedit.edit(path, backbone=folder, mode=preset, out=tmp_path / "o", **PROMPTS, **options)
    assert result.run["clip"]["working_size"] == size
    assert tuple(result.latents.shape[3:]) == tuple(result.latent_mask.shape[3:]) == latent
    assert made == [(11, 0.25)]
    assert 0.01 < (result.latent_mask == 1).float().mean() < 0.99
    assert torch.isfinite(result.latents).all()
    assert not torch.equal(result.latents, result.source_latents)
