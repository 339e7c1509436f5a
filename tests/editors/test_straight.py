"""The editors that go straight from the source: exact answers, identities, masks, costs, memory."""

import numpy as np
import pytest
import torch
from edits import steered
from fields import Gaussian, ToyBackbone
from straight import GRID, MASK, NOISE, PARTS, SHAPE, SOURCE, STRAIGHT, TARGET, X, options_of, run

from flowedit.config import compose
from flowedit.editors.spec import EDITORS, EditorInputs
from flowedit.editors.straight.dvrf import rates
from flowedit.pipeline.plan import network_evaluations
from flowedit.types import Stop

M_SRC, M_TGT = torch.randn((2, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
FROM_NOISE = (1.0, 0.9, 0.7, 0.4, 0.1, 0.0)


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("splitflow", {"split_steps": 2, "merge": "average"}, "sum"),
        ("splitflow", {"split_steps": 2, "merge": "projected"}, "same"),
        ("splitflow", {"split_steps": 2, "merge": "aggregated"}, "same"),
        ("flowdc", {"decay_steps": 4}, "none"),
        ("flowdc", {"decay_steps": 4, "side_by_side_steps": 2}, "same"),
        ("dynaedit", {}, "none"),
        ("dvrf", {"rate": "grid", "pull": "false"}, "none"),
    ],
)
def test_from_pure_noise_the_answer_on_gaussians_is_exact(name, options, parts):
    """The flow is along dm = m_tgt - m_src alone, so that nothing these rules weaken, project or weigh is lost."""
    dm = M_TGT - M_SRC
    off = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    each = {"sum": [M_TGT + off, M_TGT - off], "same": [M_TGT, M_TGT], "none": []}[parts]
    source, target = Gaussian(M_SRC, 0.6), Gaussian(M_TGT, 0.6)
    grid = FROM_NOISE if name != "dvrf" else (1.0, 0.0)  # whose coupling is 0 in its first step, as at t = 1 it may be
    z = run(name, source, target, [Gaussian(m, 0.6) for m in each], grid, options=options_of(name, **options))
    assert (z - (X + dm)).abs().max() < 1e-6 if name == "dynaedit" else (z - (X + dm)).abs().max() < 1e-11


def test_dvrf_on_gaussians_is_a_recursion_of_one_number():
    source, share, n = Gaussian(M_SRC, 0.6), 0.0, 5
    sizes = rates(GRID)
    for i in range(n):
        t, c = GRID[i], i / n
        kappa = 1 - t + c * t
        v = source.k(t) * (kappa * share - (1 - t)) - 1 + (1 - c) * share
        share = share - sizes[i] * v
    z = run("dvrf", source, Gaussian(M_TGT, 0.6))
    assert (z - (X + share * (M_TGT - M_SRC))).abs().max() < 1e-12


def test_streamgve_on_gaussians_contracts_to_the_edit():
    """Without anything inside, D - dm shrinks by (1 - t) (1 - t k(t)) in each step."""
    source, left, dm = Gaussian(M_SRC, 0.6), 1.0, M_TGT - M_SRC
    for t in GRID[:-1]:
        left *= (1 - t) * (1 - t * source.k(t))
    z = run("streamgve", source, Gaussian(M_TGT, 0.6), mask=torch.zeros_like(MASK))
    assert (z - (X + (1 - left) * dm)).abs().max() < 1e-12


@pytest.mark.parametrize("name", [each for each in STRAIGHT if each not in ("flowopt", "streamgve")])
def test_equal_prompts_return_the_source_to_the_bit(name):
    z = run(name, target=SOURCE, parts=[SOURCE, SOURCE] if EDITORS[name].parts != "none" else (), mask=MASK)
    if name == "splitflow":  # projected onto itself
        assert (z - X).abs().max() < 1e-12
        options = options_of(name, merge="average")
        assert torch.equal(run(name, target=SOURCE, parts=[SOURCE, SOURCE], options=options), X)
    else:
        assert torch.equal(z, X)


@pytest.mark.parametrize("name", STRAIGHT)
def test_no_steps_return_the_source_without_an_evaluation(name):
    def never(z, t):
        raise AssertionError("evaluated")

    inputs = EditorInputs(X, {"source": never, "target": never}, (0.0,), NOISE, parts=(never, never))
    assert torch.equal(EDITORS[name].run(inputs, options_of(name)), X)


@pytest.mark.parametrize("name", [each for each in STRAIGHT if EDITORS[each].masked])
def test_a_mask_is_asked_for_once_a_step_in_order_and_callbacks_count_every_step(name):
    asked, heard = [], []
    parts = PARTS if EDITORS[name].parts != "none" else ()
    run(name, mask=lambda i: asked.append(i) or MASK, parts=parts, callback=lambda s: heard.append((s.index, s.total)))
    assert asked == list(range(5))
    assert heard == [(i, 5) for i in range(5)]


@pytest.mark.parametrize("name", [each for each in STRAIGHT if EDITORS[each].masked])
def test_preserve_keeps_the_source_below_one_half_to_the_bit(name):
    parts = PARTS if EDITORS[name].parts != "none" else ()
    options = options_of(name, merge="average") if name == "splitflow" else None
    z = run(name, mask=MASK, preserve=True, parts=parts, options=options)
    below = (MASK < 0.5).expand_as(X)
    assert torch.equal(z[below], X[below])
    assert not torch.equal(z, X)


BASE = {"source": "a red fox runs", "target": "a big panda runs", "source_words": "fox", "steps": 5, "strength": 1.0}
COSTS = [
    ("splitflow", {"target_parts": ["a big fox runs", "a red panda runs"], "mode.split_steps": 2}),
    ("splitflow", {"target_parts": ["a big fox runs"], "mode.split_steps": 9}),
    ("splitflow", {"target_parts": ["a big fox runs"], "mode.split_steps": 2, "mode.merge": "average"}),
    ("splitflow", {"target_parts": ["a big fox runs"], "mode.split_steps": 0}),
    ("flowdc", {"target_parts": ["a big fox runs", "a big panda runs"], "mode.side_by_side_steps": 2}),
    ("flowdc", {"target_parts": ["a big fox runs"], "mode.decay_steps": 0}),
    ("dynaedit", {"mode.select_steps": 9}),
    ("dynaedit", {"mode.streams": 2}),
    ("sam_flow", {"draws": 3}),
    ("flowopt", {"mode.iterations": 0, "source_guidance_scale": 2.0}),
    ("flowopt", {"mode.iterations": 2}),
    ("flowopt", {"strength": 0.0}),
    *[(name, {}) for name in STRAIGHT],
]


@pytest.mark.parametrize(("name", "options"), COSTS)
def test_the_cost_is_what_goes_through_the_network(name, options):
    settings, backbone = compose.compose(BASE | {"mode": name} | options), ToyBackbone()
    steered(settings, backbone, torch.randn((1, 3, 3, 16, 24), generator=torch.Generator().manual_seed(0)))
    assert backbone.evaluations == network_evaluations(settings)


def test_a_stopped_edit_leaves_a_clean_latent():
    """The state is one: it is taken as it is, and not as a state on the path."""
    x = torch.randn((1, 3, 3, 16, 24), generator=torch.Generator().manual_seed(0))
    for name in STRAIGHT:
        seen, settings = [], compose.compose(BASE | {"mode": name})
        at = 7 if name == "flowopt" else 2
        z = steered(settings, ToyBackbone(), x, callback=lambda s, seen=seen, at=at: seen.append(s) or s.index == at).z
        if name == "flowopt":
            assert torch.equal(z, seen[-1].z - seen[-1].t_next * seen[-1].velocities["target"])
        else:
            assert torch.equal(z, seen[-1].z), name


def test_what_an_editor_remembers_is_enough_to_go_on_with():
    """State and memory after a step, put into another run whose steps so far see zeros, give the same bytes."""
    for name in STRAIGHT:
        parts = PARTS if EDITORS[name].parts != "none" else ()
        options = options_of("splitflow", split_steps=3) if name == "splitflow" else None
        options = options_of("flowdc", side_by_side_steps=3) if name == "flowdc" else options
        kept, whole = [], {}
        mask = MASK if EDITORS[name].masked else None

        def keep(step, kept=kept, memory=whole):
            kept.append((step.z, {key: value.clone() for key, value in memory.items()}))

        expected = run(name, mask=mask, parts=parts, options=options, memory=whole, callback=keep)
        for reached in (1, 2, 3, 4, len(kept) - 1):
            memory, over = {}, [True]

            def zeros(function, over=over):
                return lambda z, t: np.zeros_like(z) if over[0] else function(z, t)

            def again(step, reached=reached, memory=memory, over=over, kept=kept):
                if step.index == reached - 1:
                    over[0] = False
                    memory.clear()
                    memory.update(kept[step.index][1])
                    return kept[step.index][0]
                return None

            found = run(
                name, zeros(SOURCE), zeros(TARGET), [zeros(each) for each in parts], GRID, mask,
                options=options, memory=memory, callback=again,
            )  # fmt: skip
            assert torch.equal(found, expected), (name, reached)


def test_a_stop_passes_through():
    def stop(step):
        raise Stop(step.z, step.index, step.total)

    for name in STRAIGHT:
        with pytest.raises(Stop, match="step 1 of"):
            run(name, callback=stop)


@pytest.mark.parametrize("name", ["splitflow", "flowdc"])
def test_a_callback_is_shown_the_velocities_of_the_whole_target_at_the_step_s_own_time(name):
    """Not those of a part of it, nor those of a look ahead."""
    parts = {"target_parts": ["a big fox runs", "a red panda runs"], "draws": 1}
    options = (
        {"mode.merge": "average", "mode.split_steps": 2} if name == "splitflow" else {"mode.side_by_side_steps": 2}
    )
    settings, heard, evaluated = compose.compose(BASE | parts | options | {"mode": name}), [], {}

    class Noted(ToyBackbone):
        def velocity(self, prompt, *more):
            own = super().velocity(prompt, *more)
            return lambda z, t: evaluated.setdefault((prompt.prompt, t), own(z, t))

    x = torch.randn((1, 3, 3, 16, 24), generator=torch.Generator().manual_seed(0))
    steered(settings, Noted(), x, callback=lambda step: heard.append(step))
    assert len(heard) == 5
    for i, step in enumerate(heard):
        assert step.velocities["source"] is evaluated[BASE["source"], step.t]
        split = name == "splitflow" and i < 2
        assert ("target" in step.velocities) != split
        assert split or step.velocities["target"] is evaluated[BASE["target"], step.t]
