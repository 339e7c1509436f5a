"""Every editor on every family of backbones, small and at random, and every preset on one: what all of them promise.

An editor that is added is in these by itself.
"""

from dataclasses import replace

import pytest
import torch
from edits import steered

from flowedit.config import compose
from flowedit.editors.spec import EDITORS
from flowedit.pipeline.plan import network_evaluations, windows_of
from flowedit.pipeline.run import load_backbone

CHEAPEST = "backbone_2b"
PINNED = {"streamgve"}
"""Whose rule keeps the source outside a mask only where both prompts agree; mask.preserve pins it."""
BASE = {
    "source": "a red fox on grass",
    "target": "a blue panda on grass",
    "source_words": "fox",
    "target_words": "panda",
    "target_parts": ["a red panda on grass", "a blue fox on grass"],
    "steps": 2,
    "strength": 1.0,
    "mask": "attention",
    "runtime.device": "cpu",
}
loaded = {}


@pytest.fixture
def backbone(request):
    """A backbone by the name of its fixture, its latent (1, C, F, h, w), and how settings name it; made once each."""
    name = request.param
    if name not in loaded:
        chosen = {"backbone": "pocket" if name == "pocket" else str(request.getfixturevalue(name))}
        made = load_backbone(compose.compose({**BASE, **chosen}))
        shape = (1, *made.geometry(17, (32, 32)).latent)
        loaded[name] = made, torch.randn(shape, generator=torch.Generator().manual_seed(0)), chosen
    return loaded[name]


def of(*places):
    """Each editor with each of these backbones, and each preset with the cheapest."""
    found = [
        pytest.param(name, place, id=f"{name}-{place}")
        for name in sorted(compose.options("mode"))
        for place in (places if name in EDITORS else (CHEAPEST,))
    ]
    return pytest.mark.parametrize(("mode", "backbone"), found, indirect=["backbone"])


@of("pocket", CHEAPEST, "backbone_5b", "backbone_15", "backbone_wan")
def test_it_edits_inside_the_words_mask_in_windows_and_costs_what_it_says(mode, backbone):
    made, x, chosen = backbone
    settings = compose.compose({**BASE, **chosen, "mode": mode, "window": 9, "draws": 1, "averaging": "mean"})
    masked = EDITORS[settings.mode.name].masked
    if not masked:
        settings = compose.compose({**BASE, **chosen, "mode": mode, "window": 9, "mask": "none"})
    windows = windows_of(settings, made.spec, x.shape[2])
    assert len(windows) > 1
    done = steered(settings, made, x)
    assert done.z.shape == x.shape
    assert done.z.isfinite().all()
    assert (done.z - x).abs().max() > 1e-3
    assert done.evaluations == network_evaluations(settings) * len(windows) > 0
    assert (done.mask is not None) == masked


@of(CHEAPEST)
def test_it_keeps_what_lies_outside_a_user_s_mask(mode, backbone):
    made, x, chosen = backbone
    whole = {"window": "whole", "draws": 1, "averaging": "mean", "user_mask": "m.png", "mask.decay": "inf"}
    whole["mask.preserve"] = mode in PINNED
    settings = compose.compose({**BASE, **chosen, "mode": mode, **whole})
    if not EDITORS[settings.mode.name].masked:
        pytest.skip("it takes no mask")
    user = torch.zeros(1, 1, *x.shape[2:])
    user[..., : x.shape[4] // 2] = 1
    done = steered(settings, made, x, user=user)
    change = (done.z - x).abs()
    assert change[(user == 0).expand_as(x)].max() < 1e-4
    assert change[(user == 1).expand_as(x)].max() > 1e-3
    assert done.evaluations == network_evaluations(settings)


RULED = [pytest.param("inversion_free", place, id=place) for place in ("pocket", CHEAPEST, "backbone_wan")]


@pytest.mark.parametrize(("mode", "backbone"), RULED, indirect=["backbone"])
@pytest.mark.parametrize("rule", ["zero_star", "rectified"])
def test_a_rule_of_guidance_acts_on_every_backbone_and_costs_what_it_says(mode, backbone, rule):
    made, x, chosen = backbone
    scales = {"source_guidance_scale": 2.0, "target_guidance_scale": 3.0, "window": "whole", "draws": 1}
    ways = [
        compose.compose({**BASE, **chosen, **scales, "mode": mode, "guidance_rule": each}) for each in ("plain", rule)
    ]
    plain, ruled = (steered(settings, made, x) for settings in ways)
    assert ruled.z.isfinite().all()
    assert (ruled.z - plain.z).abs().max() > 1e-4
    assert ruled.evaluations == network_evaluations(ways[1])


def guided_for_a_while(mode, backbone):
    """The evaluations that an interval of guidance took, those that were foretold by the files, and those of all."""
    made, x, chosen = backbone
    more = {"source_guidance_scale": 2.0, "target_guidance_scale": 3.0, "steps": 3, "draws": 1, "averaging": "mean"}
    if not EDITORS[compose.compose({"mode": mode}).mode.name].masked:
        more["mask"] = "none"
    whole = compose.compose({**BASE, **chosen, **more, "mode": mode, "window": "whole"})
    settings = replace(whole, guidance_interval=(0.4, 0.97))
    return steered(settings, made, x).evaluations, network_evaluations(settings), network_evaluations(whole)


@of(CHEAPEST)
def test_guidance_on_an_interval_costs_what_it_says(mode, backbone):
    took, told, whole = guided_for_a_while(mode, backbone)
    assert took == told <= whole


@pytest.mark.parametrize(("mode", "backbone"), RULED, indirect=["backbone"])
def test_guidance_on_an_interval_costs_less_on_every_backbone(mode, backbone):
    took, told, whole = guided_for_a_while(mode, backbone)
    assert took == told < whole
