"""Guidance on an interval of t: what it is in every editor, what it costs, and what is said of it."""

import pytest
import torch
from edits import steered
from fields import ToyBackbone

from flowedit.config import compose
from flowedit.editors.spec import EDITORS
from flowedit.flow.guidance import scales, within
from flowedit.pipeline.notices.start import of_interval
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, make_grid

X = torch.randn((1, 3, 3, 16, 24), generator=torch.Generator().manual_seed(0))
BASE = {
    "source": "a red fox runs",
    "target": "a big panda runs",
    "source_words": "fox",
    "steps": 5,
    "strength": 1.0,
    "source_guidance_scale": 2.0,
    "target_guidance_scale": 3.0,
    "mode.grid": "uniform",  # on the toy: 1, 0.8, 0.6, 0.4, 0.2, 0
    "window": "whole",
}
PARTS = {
    "splitflow": {"target_parts": ["a big fox runs", "a red panda runs"], "mode.split_steps": 2},
    "flowdc": {"target_parts": ["a big fox runs"], "mode.side_by_side_steps": 2},
    "rf_inversion": {"mode.up_prompt": "source"},
}
INSIDE = (0.5, 0.9)
"""Steps 2 and 3 of 5; of solvers that evaluate in the middle of a step, other ones."""

WAYS = [(name, PARTS.get(name, {})) for name in EDITORS]
WAYS += [(name, {"mode.solver": solver}) for name in ("inversion", "random_noise")
         for solver in ("midpoint", "heun", "fireflow")]  # fmt: skip
WAYS += [
    ("inversion", {"mode.solver": "uni_inv", "mode.reconstruction": True}),
    ("inversion_free", {"draws": 3, "mode.single_draw_steps": 1, "mode.target_only_steps": 2}),
    ("inversion_free", {"mode.target_negative": "source"}),
    ("dynaedit", {"mode.select_steps": 4, "mode.streams": 3}),
    ("splitflow", {**PARTS["splitflow"], "mode.merge": "average"}),
    ("sam_flow", {"draws": 2}),
]
EVERY = pytest.mark.parametrize(("name", "options"), WAYS, ids=[f"{n} {' '.join(o)}" for n, o in WAYS])


class Heard(ToyBackbone):
    """Notes of every velocity its time, the scale that it is guided by, and its rows."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def velocity(self, prompt, guidance_scale=1.0, negative=None):
        velocity = super().velocity(prompt, guidance_scale, negative)

        def noted(z, t):
            before = self.evaluations
            u = velocity(z, t)
            self.heard.append((prompt.prompt, t, scales(guidance_scale)[0], self.evaluations - before))
            return u

        return noted


def of(name, options, **more):
    masked = EDITORS[name].masked
    return compose.compose(BASE | {"mode": name} | options | ({} if masked else {"mask": "none"}) | more)


def edit(settings):
    backbone = Heard()
    done = steered(settings, backbone, X)
    return done, backbone.heard


@EVERY
def test_inside_the_scales_act_and_outside_the_prompt_alone_is_evaluated(name, options):
    settings = of(name, options, guidance_interval=list(INSIDE))
    done, heard = edit(settings)
    grid = make_grid(settings, ToyBackbone())
    for prompt, t, scale, rows in heard:
        guided = INSIDE[0] <= t <= INSIDE[1]
        assert scale == ((2.0 if prompt == BASE["source"] else 3.0) if guided else 1.0)
        assert rows % (2 if guided else 1) == 0
    assert {INSIDE[0] <= t <= INSIDE[1] for _, t, _, _ in heard} == {True, False}
    assert done.evaluations == sum(rows for *_, rows in heard) == brief(settings).cost(grid)
    whole = of(name, options)
    assert done.evaluations < brief(whole).cost(grid)
    assert not torch.equal(done.z, edit(whole)[0].z)


@EVERY
def test_a_whole_interval_is_none_and_one_without_a_step_is_scale_one(name, options):
    """To the bit."""
    plain = edit(of(name, options))[0]
    assert torch.equal(edit(of(name, options, guidance_interval=[0.0, 1.0]))[0].z, plain.z)
    never, ones = [0.001, 0.002], {"source_guidance_scale": 1.0, "target_guidance_scale": 1.0}
    empty, alone = (edit(of(name, options, **more))[0] for more in ({"guidance_interval": never}, ones))
    assert torch.equal(empty.z, alone.z)
    assert empty.evaluations == alone.evaluations < plain.evaluations


def test_both_ends_belong_to_the_interval():
    velocity = within((0.2, 0.6), lambda z, t: 1, lambda z, t: 0)
    assert [velocity(None, t) for t in (0.0, 0.19, 0.2, 0.4, 0.6, 0.61, 1.0)] == [0, 0, 1, 1, 1, 0, 0]


def test_an_edit_strength_acts_at_every_time():
    settings = of("inversion_free", {"edit_strength": 1.5}, guidance_interval=list(INSIDE))
    assert brief(settings).interval == (0.0, 1.0)
    assert any("guidance_interval" in text and "no edit_strength" in text for text in of_unused(brief(settings)))
    unread = brief(of("random_noise", {"edit_strength": 1.5}, guidance_interval=list(INSIDE)))
    assert unread.interval == INSIDE
    assert not any("guidance_interval" in text for text in of_unused(unread))


def test_an_interval_that_does_nothing_is_told():
    def told(**more):
        settings = of("inversion_free", {}, **more)
        made = brief(settings)
        texts = [*of_interval(made, make_grid(settings, ToyBackbone())), *of_unused(made)]
        return [text for text in texts if text.startswith("guidance_interval")]

    assert told(guidance_interval=list(INSIDE)) == []
    (text,) = told(guidance_interval=[0.85, 0.95])
    assert text == "guidance_interval=0.85,0.95 guides no step: they begin at the times 1, 0.8, 0.6, 0.4, 0.2"
    (text,) = told(guidance_interval=[0.5, 0.9], source_guidance_scale=1.0, target_guidance_scale=1.0)
    assert "has no effect: it needs a guidance scale other than 1" in text


@pytest.mark.parametrize("wrong", ["0.9,0.3", "0.5,0.5", "0.5", "-0.1,0.5", "0.5,1.2", "0.1,0.5,0.9"])
def test_nonsense_is_refused_in_one_line(wrong):
    with pytest.raises(ValueError, match=r"^guidance_interval .* is out of range: two times .* such as 0.3,0.9$"):
        compose.compose({"guidance_interval": wrong})
    with pytest.raises(ValueError, match="guidance_interval"):
        compose.compose({}, [f"guidance_interval=[{wrong}]"])


def test_the_old_key_says_what_the_new_one_takes():
    for given in ({"flags": {"mode.guidance_interval": "0,0.5"}}, {"overrides": ["mode.guidance_interval=[0,0.5]"]}):
        with pytest.raises(ValueError, match=r"in shares of the steps, is guidance_interval now, .* and in times"):
            compose.compose(**given)
