"""FlowDirector's and FlowAlign's pieces: identities, means over the clip's own frames, what has no effect."""

from dataclasses import replace

import pytest
import torch
from edits import steered
from fields import ToyBackbone
from masking import UNTUNED
from presets import FULL, NUMBERS, PROMPTS, X, edit

import flowedit
from flowedit.config import compose
from flowedit.editors.corrections import decoupled
from flowedit.editors.straight.inversion_free import inversion_free
from flowedit.flow.noise import gaussian
from flowedit.pipeline.checks import check_editor
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, make_grid, own_latents
from flowedit.types import Geometry


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
    plain |= {"mode.coupling": 1, "source_guidance_scale": 3.5, "target_guidance_scale": 10.5, "strength": 0.8}
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
    options = {"steps": 1, "strength": 1, "mask.threshold": "mean", "mask.pool": 0, "source_words": "fox"} | UNTUNED
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
