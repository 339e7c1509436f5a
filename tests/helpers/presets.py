"""The published numbers of the presets, and an edit of latents by one."""

from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
import torch
from edits import edited
from fields import ToyBackbone

from flowedit.config import compose
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, network_evaluations

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


def carries(preset, cost, numbers):
    """Assert that a preset costs so much on a full-size backbone, has these numbers, and sets nothing in vain."""
    settings = compose.compose({"mode": preset, **FULL})
    assert {key: at(settings, key) for key in numbers} == numbers
    assert (settings.mode.name, settings.mode.preset) == (numbers.get("mode.name", "inversion_free"), preset)
    assert network_evaluations(settings) == cost
    assert of_unused(brief(settings)) == []
    on_wan = compose.compose({"mode": preset, **FULL, "backbone": "wan2.1-t2v-1.3b"})
    assert on_wan.backbone != settings.backbone
    assert replace(on_wan, backbone=settings.backbone) == settings


def edit(options, mask=None):
    """The settings' editor on the toy field, and the settings; with a mask of its own unless one is given."""
    settings, backbone = compose.compose({**PROMPTS, **WORDS, **options}), ToyBackbone()
    return edited(settings, backbone, X, X.shape[3:], mask)
