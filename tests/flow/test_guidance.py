"""Rules of guidance: their formulas, where they are plain guidance, and what they cost and refuse in an edit."""

import numpy as np
import pytest
import torch
from edits import steered
from fields import ToyBackbone

from flowedit.config import compose
from flowedit.flow.guidance import BOTH, below, rectified, zero_star
from flowedit.pipeline.checks import check_guidance
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, make_grid, network_evaluations
from flowedit.pipeline.run import load_backbone
from flowedit.pipeline.velocities import guide

SHAPE = (2, 3, 2, 4, 5)
Z = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def conditional(z, t):
    return torch.sin(3 * z) + t


def negative(z, t):
    return torch.cos(2 * z) - t * z


def both(z, t):
    return torch.cat([negative(z, t), conditional(z, t)])


@pytest.mark.parametrize("scale", [4.0, (1.0, 4.0, 0.5)])
def test_zero_star_is_its_formula_row_by_row(scale):
    found = zero_star(both, scale)(Z, 0.6).numpy().reshape(-1, 2, Z[0].numel())
    c, n = (f(Z, 0.6).numpy().reshape(2, -1) for f in (conditional, negative))
    s = np.array([[c[row] @ n[row] / (n[row] @ n[row])] for row in range(2)])
    for rows, g in zip(found, np.atleast_1d(scale), strict=True):
        assert np.abs(rows - ((1 - g) * s * n + g * c)).max() < 1e-12


def test_zero_star_takes_the_length_out_of_the_negative():
    """u_neg = a u_cond gives u_cond, at whatever scale; and at scale 1 it is u_cond."""
    same = zero_star(lambda z, t: torch.cat([-0.3 * conditional(z, t), conditional(z, t)]), 7.0)
    assert (same(Z, 0.6) - conditional(Z, 0.6)).abs().max() < 1e-12
    assert (zero_star(both, 1.0)(Z, 0.6) - conditional(Z, 0.6)).abs().max() < 1e-12


@pytest.mark.parametrize("scale", [4.0, (1.0, 4.0)])
def test_rectified_is_its_formula(scale):
    found = rectified(conditional, both, scale, lambda t: 0.4)(Z, 0.6)
    c = conditional(Z, 0.6)
    there = Z - 0.2 * c
    change = conditional(there, 0.4) - negative(there, 0.4)
    for rows, g in zip(found.split(2), np.atleast_1d(scale), strict=True):
        assert (rows - (c + (g - 1) * change)).abs().max() < 1e-12


def test_rectified_is_plain_guidance_of_constant_velocities():
    one, zero = torch.ones_like(Z), torch.zeros_like(Z)
    found = rectified(lambda z, t: one, lambda z, t: torch.cat([zero, one]), 3.0, lambda t: 0.0)(Z, 0.5)
    assert torch.equal(found, 3.0 * one)


def test_the_time_below_is_the_grid_s_next_and_never_below_what_was_trained():
    look = below([0.9, 0.5, 0.2, 0.0], 0.01)
    assert [look(t) for t in (0.9, 0.7, 0.5, 0.2, 0.1, 0.005)] == [0.5, 0.5, 0.2, 0.01, 0.01, 0.005]


@pytest.mark.parametrize("name", ["backbone_2b", "backbone_wan"])
def test_the_two_scales_of_both_are_the_two_prompts_through_the_bridge(request, name):
    """So the rules see the flow's velocities u, whatever the network gives."""
    backbone = load_backbone(compose.compose({"backbone": str(request.getfixturevalue(name)), "runtime.device": "cpu"}))
    z = torch.randn((1, *backbone.geometry(5, (32, 32)).latent), generator=torch.Generator().manual_seed(0))
    prompt, other = backbone.embed("a fox"), backbone.embed("blurry")
    before = backbone.evaluations
    n, c = backbone.velocity(prompt, BOTH, other)(z, 0.6).chunk(2)
    assert backbone.evaluations - before == 2
    assert torch.allclose(c, backbone.velocity(prompt)(z, 0.6), atol=1e-5)
    assert torch.allclose(n, backbone.velocity(other)(z, 0.6), atol=1e-5)


X = torch.randn((1, 3, 5, 8, 12), generator=torch.Generator().manual_seed(0))
BASE = {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "source_words": "fox, red",
    "target_words": "panda, big",
    "steps": 4,
    "strength": 1.0,
    "source_guidance_scale": 2.0,
    "target_guidance_scale": 3.0,
    "window": "whole",
}
RULES = pytest.mark.parametrize("rule", ["zero_star", "rectified"])


def edit(**options):
    made = compose.compose(BASE | options)
    return steered(made, ToyBackbone(coupling=2.0), X)


@RULES
@pytest.mark.parametrize("mode", ["inversion_free", "inversion", "random_noise", "uniedit_flow", "steerflow"])
def test_a_rule_moves_every_way_and_costs_what_it_says(rule, mode):
    options = {"mode": mode, "source_guidance_scale": 2.0 if mode == "inversion_free" else 1.0}
    plain, ruled = edit(**options), edit(**options, guidance_rule=rule)
    assert ruled.z.isfinite().all()
    assert (ruled.z - plain.z).norm() / plain.z.norm() > 1e-3
    assert ruled.evaluations == network_evaluations(compose.compose(BASE | options | {"guidance_rule": rule}))
    rows = {"zero_star": 2, "rectified": 3}[rule]
    if mode == "random_noise":
        assert ruled.evaluations == 4 * rows


@RULES
@pytest.mark.parametrize("options", [{"draws": 3}, {"window": 9}, {"guidance_interval": [0.5, 1.0]}])
def test_a_rule_goes_with_draws_windows_and_intervals(rule, options):
    done = edit(**options, guidance_rule=rule)
    assert done.z.isfinite().all()
    assert (done.z - edit(**options).z).norm() > 1e-3 * X.norm()
    windows, settings = 2 if "window" in options else 1, compose.compose(BASE | options | {"guidance_rule": rule})
    assert done.evaluations == windows * brief(settings).cost(make_grid(settings, ToyBackbone()))


@RULES
def test_equal_scales_of_several_objects_are_one_scale(rule):
    one, own = edit(guidance_rule=rule), edit(guidance_rule=rule, object_guidance_scales=[3.0, 3.0])
    assert torch.allclose(one.z, own.z, atol=1e-5)
    assert (edit(guidance_rule=rule, object_guidance_scales=[3.0, 6.0]).z - own.z).norm() > 1e-3 * X.norm()


@RULES
def test_equal_sides_return_the_source_to_the_bit(rule):
    same = {"target": BASE["source"], "source_guidance_scale": 3.0, "mask": "none", "target_words": ""}
    assert torch.equal(edit(**same, guidance_rule=rule).z, X)


@RULES
@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode.region": True}, "mode.region=true and guidance_rule=.* do not go together"),
        ({"edit_strength": 0.5}, "edit_strength and guidance_rule=.* do not go together"),
    ],
)
def test_what_does_not_go_with_a_rule_is_refused_by_name(rule, options, match):
    with pytest.raises(ValueError, match=match):
        check_guidance(brief(compose.compose(BASE | options | {"guidance_rule": rule})))
    check_guidance(brief(compose.compose(BASE | {"guidance_rule": rule})))


def test_a_guided_way_up_does_not_look_ahead():
    options = BASE | {"mode": "inversion", "guidance_rule": "rectified"}
    with pytest.raises(ValueError, match=r"goes up .* set it to 1, or take guidance_rule=zero_star"):
        check_guidance(brief(compose.compose(options)))
    check_guidance(brief(compose.compose(options | {"source_guidance_scale": 1.0})))
    check_guidance(brief(compose.compose(options | {"guidance_rule": "zero_star"})))


def test_a_rule_without_guidance_is_told_to_have_no_effect():
    plain = {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0, "guidance_rule": "zero_star"}
    assert any("guidance_rule=zero_star has no effect" in text for text in of_unused(brief(compose.compose(plain))))


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, "a source guidance scale other than 1, or no target_negative_prompt"),
        ({"mode": "random_noise"}, "no target_negative_prompt"),
        ({"source_guidance_scale": 2.0}, None),
        ({"target_negative_prompt": None}, None),
    ],
)
def test_a_negative_prompt_that_the_target_s_own_leaves_nothing_is_told(options, missing):
    given = {"negative_prompt": "dark", "target_negative_prompt": "blurry", "source_guidance_scale": 1.0}
    texts = [each for each in of_unused(brief(compose.compose(BASE | given | options))) if "negative_prompt" in each]
    assert texts == ([f"negative_prompt=dark has no effect: it needs {missing}"] if missing else [])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("dark", "dark")),
        ({"target_negative_prompt": "blurry"}, ("dark", "blurry")),
        ({"target_negative_prompt": ""}, ("dark", "")),
        ({"target_negative_prompt": "blurry", "mode.target_negative": "source"}, ("dark", BASE["source"])),
    ],
)
def test_the_target_may_be_steered_away_from_a_prompt_of_its_own(options, expected):
    scales = {"source_guidance_scale": 2.0, "negative_prompt": "dark"}
    guided = guide(brief(compose.compose(BASE | scales | options)), ToyBackbone())
    assert tuple(guided[side].negative.prompt for side in ("source", "target")) == expected
