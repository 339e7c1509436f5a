"""No dead knobs: every option of an edit that is a number or a choice moves the output on a non-linear field."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from edits import steered
from fields import ToyBackbone
from masking import UNTUNED

from flowedit.config import compose
from flowedit.config.options import declared
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief

X = torch.randn((1, 3, 5, 16, 24), generator=torch.Generator().manual_seed(0))
BASE = UNTUNED | {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "source_words": "fox",
    "target_words": "panda",
    "steps": 6,
    "negative_prompt": "blurry",
    "window": "whole",
}

ELSEWHERE = {  # what never reaches an editor: files, shapes, memory; each has tests of its own
    *(
        "clip",
        "size",
        "frames",
        "start",
        "fps",
        "cuts",
        "fit",
        "out",
        "composite",
        "user_mask",
        "backbone",
        "runtime",
        "lora",
    ),
    *("box", "point", "save", "log", "upscale"),
    *("format", "codec", "crf", "bit_depth"),
    "frame_by_frame",  # makes a shot of each frame; tested in test_frame_by_frame
    *("mode.name", "mask.name", "quality.name", "averaging.name", "attention.name"),
    *("mode.times", "mode.reconstruction", "mask.user"),
    *("source", "target", "instruction", "caption"),
    "mode.preset",  # a name for run.yaml
    "mode.row",  # says what is written beside the edit; tested in test_straight_rules
    *(
        "mask.dependents",
        "mask.sharpen",
    ),  # of velocities that differ more in one place than elsewhere; moved in test_dependents and test_sharpen
    "mask.look_at",  # of a look alone; tested in test_mask_look
    "task",  # chooses other settings; which words it takes is tested in test_run
}

TWO = {"source_words": "fox, red", "target_words": "panda, big"}

PARTS = {"target_parts": ["a big fox runs", "a red panda runs"]}

# key: (another value, the mode, what else must be set for it to matter)
MOVES = {
    "source_words": ("red", "inversion_free", {}),
    "target_words": ("big", "inversion_free", {}),
    "also_words": ("red", "inversion_free", {}),
    "negative_prompt": ("dark", "inversion_free", {}),
    "target_negative_prompt": ("dark", "inversion_free", {}),
    "source_guidance_scale": (2.0, "inversion_free", {}),
    "target_guidance_scale": (6.0, "inversion_free", {}),
    "strength": (0.5, "inversion_free", {}),
    "steps": (7, "inversion_free", {}),
    "draws": (2, "inversion_free", {}),
    "seed": (1, "inversion_free", {}),
    "guidance_rule": ("zero_star", "inversion_free", {}),
    "object_guidance_scales": ([3.0, 8.0], "inversion_free", TWO),
    "mask.objects": ("joined", "inversion_free", TWO),
    "window": (5, "inversion_free", {}),
    "window_overlap": (0.7, "inversion_free", {"window": 9}),
    "mode.grid": ("uniform", "inversion_free", {}),
    "mode.shift": (2.0, "inversion_free", {"mode.grid": "shifted"}),
    "target_parts": (["a big fox runs", "a red panda runs"], "splitflow", {}),
    "mode.split_steps": (2, "splitflow", PARTS),
    "mode.merge": ("average", "splitflow", PARTS),
    "mode.decay_steps": (3, "flowdc", {}),
    "mode.across": (0.8, "flowdc", {}),
    "mode.across_end": (0.2, "flowdc", {}),
    "mode.look_step": (0, "flowdc", {}),
    "mode.look_draws": (1, "flowdc", {}),
    "mode.side_by_side_steps": (0, "flowdc", PARTS),
    "mode.streams": (2, "dynaedit", {}),
    "mode.select_steps": (1, "dynaedit", {}),
    "mode.temperature": (10.0, "dynaedit", {}),
    "mode.coupling_end": (0.2, "dvrf", {}),
    "mode.pull": (False, "dvrf", {}),
    "mode.rate": ("grid", "dvrf", {}),
    "mode.slack": (0.5, "sam_flow", {}),
    "mode.ring": (0.3, "sam_flow", {"mask.threshold": "quantile", "mask.decay": 20.0}),
    "mode.ring_end": (0.4, "sam_flow", {"mask.threshold": "quantile", "mask.decay": 20.0}),
    "mode.ring_weight": (1.0, "sam_flow", {"mask.threshold": "quantile", "mask.decay": 20.0}),
    "mode.ring_blend": (1.0, "sam_flow", {"mask.threshold": "quantile", "mask.decay": 20.0}),
    "mode.step_size": (0.1, "flowopt", {}),
    "mode.guide": ("difference", "streamgve", {}),
    "mode.iterations": (2, "flowopt", {}),
    "mode.amplify": (1.0, "inversion_free", {}),
    "mode.solver": ("heun", "inversion", {}),
    "mode.target_only_steps": (1, "inversion_free", {}),
    "mode.fixed_noise_steps": (2, "inversion_free", {}),
    "mode.single_draw_steps": (2, "inversion_free", {"draws": 2}),
    "mode.noise": ("correlated", "inversion_free", {}),
    "mode.coupling": (0.2, "inversion_free", {}),
    "guidance_interval": ([0.5, 1.0], "inversion_free", {}),
    "mode.up_prompt": ("source", "rf_inversion", {}),
    "mode.up_pull": (0.1, "rf_inversion", {}),
    "mode.down_pull": (0.3, "rf_inversion", {}),
    "mode.pull_share": (0.5, "rf_inversion", {}),
    "mode.pull_decay": (2.0, "rf_inversion", {"mode.pull_share": 0.5}),
    "mode.stochastic": (True, "rf_inversion", {}),
    "mode.omega": (2.0, "uniedit_flow", {}),
    "mode.alpha": (1.0, "steerflow", {}),
    "mode.closing": (0.3, "steerflow", {}),
    "mode.target_share": (0.3, "dnaedit", {}),
    "quality.share": (0.5, "inversion_free", {"steps": None}),
    "edit_strength": (2.0, "inversion_free", {}),
    "mode.target_negative": ("source", "inversion_free", {}),
    "mode.region": (True, "inversion_free", {}),
    "mode.region_margin": (0.3, "inversion_free", {"mode.region": True, "mask.threshold": "quantile"}),
    "mode.region_refresh": (2, "inversion_free", {"mode.region": True, "mask.threshold": "quantile"}),
    "mode.direction_aware": (True, "inversion_free", {}),
    "mode.direction_alpha": (1.0, "inversion_free", {"mode.direction_aware": True}),
    "mode.direction_patch": (2, "inversion_free", {"mode.direction_aware": True}),
    "mode.decoupling": (0.01, "inversion_free", {}),
    "mode.decoupling_appearance": (0.9, "inversion_free", {"mode.decoupling": 0.01}),
    "mask.blocks": ([0.1], "inversion_free", {}),
    "mask.normalise": ("text", "inversion_free", {}),
    "mask.threshold": ("mean", "inversion_free", {}),
    "mask.quantile": (0.5, "inversion_free", {"mask.threshold": "quantile"}),
    "mask.level": (0.5, "inversion_free", {}),
    "mask.pool": (0.4, "inversion_free", {}),
    "mask.close": (0.2, "inversion_free", {"mask.threshold": "quantile"}),
    "mask.grow": (0.1, "inversion_free", {}),
    "mask.decay": (3.0, "inversion_free", {}),
    "mask.smooth_frames": (1.0, "inversion_free", {}),
    "mask.smooth_steps": (0.5, "inversion_free", {}),
    "mask.over_draws": ("union", "inversion_free", {"draws": 3}),
    "mask.preserve": (True, "inversion_free", {"mask.threshold": "quantile"}),
    "averaging.baseline": ("first", "inversion_free", {"averaging": "differential"}),
    "averaging.baseline_size": (1, "inversion_free", {"averaging": "differential"}),
    "averaging.weight": (1.0, "inversion_free", {"averaging": "differential"}),
    "attention.queries": (1.0, "inversion_free", {}),
    "attention.keys": (1.0, "inversion_free", {}),
    "attention.values": (1.0, "inversion_free", {}),
    "attention.keys_inside": (0.0, "inversion_free", {"attention.keys": 1.0}),
    "attention.values_inside": (0.0, "inversion_free", {"attention.values": 1.0}),
    "attention.keys_steps": ([0.5, 1.0], "inversion_free", {"attention.keys": 1.0}),
    "attention.values_steps": ([0.0, 0.5], "inversion_free", {"attention.values": 1.0}),
    "attention.fade": (5.0, "inversion_free", {"attention.values": 1.0}),
    "attention.adapt": (2.0, "inversion_free", {"attention.values": 1.0}),
    "attention.blocks": ([0.5, 1.0], "inversion_free", {"attention.values": 1.0}),
    "attention.anchor_words": (0.5, "inversion_free", {}),
    "attention.anchor_sites": (0.5, "inversion_free", {}),
    "attention.anchor_until": (0.3, "inversion_free", {"attention.anchor_words": 0.5}),
    "attention.word_weight": (5.0, "inversion_free", {}),
    "attention.objects": ("apart", "inversion_free", TWO),
}
HERE = Path(__file__)
for path in sorted(HERE.parent.glob("test_*.py")):  # an editor that has a test file of its own has its moves there
    if path != HERE and "\nMOVES = {" in path.read_text(encoding="utf-8"):
        MOVES |= import_module(path.stem).MOVES
IN_OTHER_MODES = [
    ("random_noise", "mode.solver", "midpoint"),
    *[(mode, "target_guidance_scale", 7.0) for mode in ("random_noise", "inversion")],
    *[("random_noise", k, MOVES[k][0]) for k in ("seed", "steps", "strength", "mask.decay")],
    *[("random_noise", k, MOVES[k][0]) for k in ("target_words", "mask.pool", "mode.grid", "negative_prompt")],
    *[("inversion", k, MOVES[k][0]) for k in ("steps", "strength", "source_guidance_scale")],
    *[("inversion", k, MOVES[k][0]) for k in ("mask.decay", "mask.pool", "source_words", "target_words", "mode.grid")],
    *[(mode, "object_guidance_scales", [3.0, 8.0]) for mode in ("random_noise", "inversion")],
    *[("inversion_free", "mask", name) for name in ("difference", "both", "none")],
    *[("inversion", "mode.solver", solver) for solver in ("midpoint", "fireflow", "uni_inv")],
    ("random_noise", "mode.solver", "fireflow"),
    ("random_noise", "mask.preserve", True),
    ("inversion", "mask.preserve", True),
    ("inversion", "edit_strength", 2.0),
    *[(mode, "guidance_rule", "rectified") for mode in ("random_noise", "inversion_free", "dnaedit", "rf_inversion")],
    ("inversion_free", "mode.noise", "antithetic"),
    *[("inversion", f"attention.{name}", 1.0) for name in ("queries", "keys", "values")],
    *[(mode, "attention.word_weight", 5.0) for mode in ("inversion", "random_noise")],
    *[(mode, "window", "auto") for mode in ("random_noise", "inversion")],
]


def keys():
    """Every option that has a say in the numbers, those of all editors too."""
    every = [*declared(Settings), *(each for spec in EDITORS.values() for each in declared(spec.options, "mode."))]
    for each in every:
        if not {each.key, each.key.partition(".")[0]} & ELSEWHERE and not each.option.choices:
            yield each.key


def test_the_table_holds_every_option():
    assert set(keys()) == set(MOVES)


def edit(**options):
    settings, backbone = compose.compose(BASE | options), ToyBackbone(coupling=2.0)
    return steered(settings, backbone, X).z


def moved(mode, key, value, others):
    before = edit(mode=mode, **others)
    after = edit(mode=mode, **(others | {key: value}))
    return ((after - before).norm() / before.norm()).item()


@pytest.mark.parametrize("key", MOVES)
def test_every_option_moves_the_output(key):
    value, mode, others = MOVES[key]
    assert moved(mode, key, value, others) > 1e-3


@pytest.mark.parametrize(("mode", "key", "value"), IN_OTHER_MODES)
def test_options_move_the_other_modes_too(mode, key, value):
    assert moved(mode, key, value, TWO if key == "object_guidance_scales" else {}) > 1e-3


@pytest.mark.parametrize("mode", ["random_noise", "inversion", "inversion_free"])
def test_the_toy_edit_is_finite_and_repeats_to_the_bit(mode):
    first, again = edit(mode=mode), edit(mode=mode)
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert (first - X).norm() / X.norm() > 0.1


def test_edit_strength_keeps_the_clip_at_zero_and_is_the_guided_edit_at_one():
    """V = u(p, src) - u(q, src) + S g [u(p, tgt) - u(p, src)], after FlowSlider; S = 0 keeps the clip."""
    assert (edit(edit_strength=0.0) - X).abs().max() < 1e-5
    away = {"mode.target_negative": "source", "source_guidance_scale": 1.0}
    assert torch.equal(edit(edit_strength=1.0), edit(**away))
    assert torch.equal(edit(edit_strength=2.0, target_guidance_scale=3.0), edit(target_guidance_scale=6.0, **away))


@pytest.mark.parametrize("draws", [1, 2])
def test_antithetic_noise_moves_the_steps_that_take_one_draw(draws):
    others = {"draws": draws, "mode.single_draw_steps": 20}
    assert moved("inversion_free", "mode.noise", "antithetic", others) > 1e-3


@pytest.mark.parametrize("noise", ["antithetic", "correlated"])
@pytest.mark.parametrize("options", [
    {"steps": 1, "strength": 1.0},
    {"steps": 1, "strength": 1.0, "draws": 2},
    {"steps": 2, "strength": 1.0},
    {"steps": 4, "strength": 1.0, "mode.fixed_noise_steps": 9},
    {"steps": 4, "strength": 1.0, "mode.fixed_noise_steps": 3},
    {"steps": 4, "strength": 1.0, "draws": 2, "mode.single_draw_steps": 4, "mode.fixed_noise_steps": 4},
])  # fmt: skip
def test_a_noise_that_moves_nothing_is_told(noise, options):
    settings = compose.compose(BASE | options | {"mode.noise": noise})
    told = any(text.startswith(f"mode.noise={noise} has no effect") for text in of_unused(brief(settings)))
    assert told == (moved("inversion_free", "mode.noise", noise, options) == 0)


@pytest.mark.parametrize("scales", [{}, {"object_guidance_scales": [3.0, 8.0], **TWO}], ids=["one scale", "two scales"])
def test_no_guidance_outside_its_interval(scales):
    plain = {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}
    both = {"source_guidance_scale": 2.0, "guidance_interval": [0.0, 0.001]}
    unscaled = edit(**plain, **{key: value for key, value in scales.items() if "scale" not in key})
    assert torch.allclose(edit(**both, **scales), unscaled, atol=1e-5)
    whole = {"source_guidance_scale": 2.0, **scales}
    assert torch.equal(edit(**whole), edit(**whole, guidance_interval=[0.0, 1.0]))
