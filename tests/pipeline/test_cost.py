"""The cost that is foretold is the cost that is counted, and a budget buys what it says."""

import numpy as np
import pytest
from edits import steered

from flowedit.config.compose import compose
from flowedit.config.compose import options as compose_names
from flowedit.editors.spec import EDITORS, EditorSpec, ModeOptions
from flowedit.evaluation.budget import within
from flowedit.evaluation.methods import equalise, hurried, methods, set_apart, twins
from flowedit.pipeline.checks import check_brief
from flowedit.pipeline.plan import brief, intervals, make_grid, network_evaluations
from flowedit.pipeline.record import Session
from flowedit.pipeline.run import load_backbone
from flowedit.pipeline.steer import encode

WORDS = {"source": "a fox", "target": "a panda", "source_words": "fox", "target_words": "panda"}
FAST = {"backbone": "pocket", "runtime.device": "cpu", "runtime.dtype": "bfloat16"}


@pytest.fixture(scope="module")
def backbone():
    return load_backbone(compose(FAST))


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "random_noise", "steps": 3},
        {"mode": "random_noise", "steps": 3, "target_guidance_scale": 1, "mode.solver": "heun"},
        {"mode": "random_noise", "steps": 3, "mode.solver": "midpoint"},
        {"mode": "inversion", "steps": 3, "source_guidance_scale": 2},
        {"mode": "inversion", "steps": 3, "mode.solver": "heun"},
        {"mode": "inversion", "steps": 2, "mode.solver": "midpoint", "mode.reconstruction": True},
        {"mode": "inversion", "steps": 2, "mode.reconstruction": True},
        {"mode": "inversion", "steps": 3, "mode.solver": "uni_inv", "mode.reconstruction": True},
        {"mode": "fireflow", "steps": 3},
        {"mode": "ddim_inversion", "steps": 2},
        {"mode": "rf_inversion", "steps": 3, "mode.stochastic": True},
        {"mode": "rf_inversion", "steps": 2, "mode.up_prompt": "source", "edit_strength": 2.0},
        {"mode": "uniedit_flow", "steps": 3, "target_guidance_scale": 2.0},
        {"mode": "steerflow", "steps": 3},
        {"mode": "dnaedit", "steps": 3},
        {"mode": "random_noise", "steps": 3, "mode.solver": "fireflow"},
        {"mode": "inversion_free", "steps": 4, "strength": 0.8},
        {"mode": "inversion_free", "steps": 2, "draws": 3, "mask": "none"},
        {"mode": "inversion_free", "steps": 3, "mode.target_only_steps": 2},
        {"mode": "inversion_free", "steps": 4, "draws": 2, "mode.fixed_noise_steps": 2, "mode.target_only_steps": 1},
        {"mode": "inversion_free", "steps": 4, "draws": 2, "mode.single_draw_steps": 2, "mode.fixed_noise_steps": 1},
        {"mode": "inversion_free", "steps": 4, "guidance_interval": [0.3, 0.8], "source_guidance_scale": 2},
        {"mode": "inversion_free", "steps": 4, "guidance_interval": [0.6, 1], "mode.target_only_steps": 3},
        {"mode": "inversion_free", "steps": 4, "edit_strength": 1.5, "source_guidance_scale": 2},
        {"mode": "inversion", "steps": 2, "edit_strength": 1.5},
        {"mode": "inversion_free", "steps": 3, "guidance_rule": "rectified", "guidance_interval": [0.5, 1]},
        {"mode": "flowalign", "steps": 2, "guidance_rule": "zero_star"},
        {"mode": "inversion", "steps": 2, "guidance_rule": "rectified", "mode.solver": "fireflow"},
        {"mode": "flowdirector_v1", "steps": 2},
        {"mode": "flowdirector_v2", "steps": 3, "mode.fixed_noise_steps": 1},
        {"mode": "flowdirector_v2", "steps": 3},
        {"mode": "flowalign", "steps": 3},
        {"mode": "inversion_free", "mode.grid": "given", "mode.times": [0.9, 0.5, 0]},
        {"mode": "inversion_free", "strength": 0},
    ],
    ids=lambda options: " ".join(f"{key}={value}" for key, value in options.items()),
)
def test_the_cost_is_what_the_network_counts(backbone, options):
    settings = compose({**FAST, **WORDS, "strength": 1, **options})
    assert len(make_grid(settings, backbone)) - 1 == intervals(settings)
    latent = encode(backbone, np.zeros((9, 64, 64, 3), np.uint8), Session(backbone.device))
    assert steered(settings, backbone, latent).evaluations == network_evaluations(settings)


def test_modes_of_equal_cost_follow_from_the_first():
    chosen, _ = equalise(methods(["inversion_free", "inversion", "random_noise"])[0])
    assert [network_evaluations(method.settings) for method in chosen] == [30, 30, 30]
    half, _ = equalise(methods(["inversion_free", "random_noise"])[0], 50)
    assert [network_evaluations(method.settings) for method in half] == [48, 50]
    with pytest.raises(
        ValueError, match="2 network evaluations do not pay one step of inversion_free, which takes 3: "
    ):
        equalise(methods(["inversion_free"])[0], 2)
    assert equalise(methods(["inversion_free"])[0], 3)[0]  # what the message says is enough


@pytest.fixture
def one_look():
    """An editor that looks once, whatever the steps."""

    def cost(options, counts):
        return counts.source(counts.grid[:1]) + counts.target(counts.grid[:1])

    EDITORS.add("one_look", EditorSpec("one look", ModeOptions, lambda inputs, options: inputs.x_src, cost=cost))
    yield "one_look"
    EDITORS.remove("one_look")


@pytest.mark.parametrize("first", [True, False])
def test_a_method_whose_steps_cost_nothing_keeps_them_and_sets_no_budget(one_look, first):
    modes = [one_look, "inversion_free"] if first else ["inversion_free", one_look]
    plain = {method.name: method.settings for method in methods(modes)[0]}
    chosen, _ = equalise(methods(modes)[0])
    for method in chosen:
        assert method.settings.steps == plain[method.name].steps
        assert method.on({"source": "a fox"}).steps == plain[method.name].steps
    assert set_apart(chosen) == ["one_look takes 4 network evaluations whatever its steps, and keeps its own."]
    assert set_apart(methods(modes)[0]) == []  # nobody's budget
    assert equalise(methods([one_look])[0], 4)[0][0].settings.steps == plain[one_look].steps
    with pytest.raises(ValueError, match="do not pay one_look, which takes 4, whatever"):
        equalise(methods([one_look])[0], 3)


def test_a_budget_never_buys_a_grid_of_which_no_step_is_run():
    for mode in compose_names("mode"):
        settings = compose({"mode": mode, "strength": 0.6})
        assert intervals(within(settings, 1000)) > 0, mode


def test_a_strength_that_runs_no_step_is_refused_before_a_model_is_there():
    with pytest.raises(ValueError, match=r"strength 0\.8 of 1 steps runs none"):
        check_brief(brief(compose({**WORDS, "steps": 1, "strength": 0.8})))


def test_a_budget_buys_the_fewest_steps_that_use_it():
    settings = within(compose({"mode": "random_noise"}), 96)
    assert (settings.steps, intervals(settings)) == (60, 48)
    given = compose({"mode.grid": "given", "mode.times": [1, 0.5, 0]})
    assert within(given, network_evaluations(given)) is given
    with pytest.raises(ValueError, match="choose evaluations=own"):
        within(given, 7)


def test_what_counts_steps_goes_with_the_steps_that_a_budget_buys():
    flowdc, dynaedit, second = equalise(methods(["flowdc", "dynaedit", "flowdirector_v2"])[0], 48)[0]
    published = compose({"mode": "flowdc"})
    assert (published.steps, published.mode.decay_steps, published.mode.look_step) == (28, 7, 5)
    assert (flowdc.settings.steps, flowdc.settings.mode.decay_steps, flowdc.settings.mode.look_step) == (10, 3, 2)
    assert (dynaedit.settings.steps, dynaedit.settings.mode.select_steps) == (8, 1)  # 3 of 50 is half a step of 8
    assert (second.settings.steps, second.settings.mode.fixed_noise_steps) == (4, 1)
    for method in (flowdc, dynaedit, second):  # a clip's own options begin at the published ones again
        assert method.on({"source": "a fox"}).mode == method.settings.mode
        assert method.on({"source": "a fox"}).steps == method.settings.steps


@pytest.mark.parametrize("by", [{"overrides": ["mode.decay_steps=7"]}, {"flags": {"mode.decay_steps": 7}}])
def test_what_was_set_by_hand_stays_at_a_budget(by):
    (method,), _ = equalise(methods(["flowdc"], **by)[0], 48)
    assert (method.settings.mode.decay_steps, method.settings.mode.look_step) == (7, 2)
    assert method.on({"source": "a fox"}).mode.decay_steps == 7


def test_methods_of_which_a_budget_pays_few_steps_are_told():
    chosen, _ = equalise(methods(["inversion_free", "sam_flow", "flowopt"])[0], 48)
    (told,) = hurried(chosen)
    assert "leave sam_flow (1), flowopt (2) fewer than 4 steps:" in told
    assert hurried(methods(["inversion_free"], overrides=["steps=2"])[0]) == []  # nobody's budget


def test_a_clip_brings_its_own_and_a_method_wins():
    (plain, strong), _ = methods(["inversion"], ["strength=0.5 seed=9"])
    flags = {"clip": "a.mp4", "source": "a fox", "target": "a panda", "seed": 3, "strength": 1.0}
    assert (plain.on(flags).strength, plain.on(flags).seed, plain.on(flags).clip) == (1.0, 3, "a.mp4")
    assert (strong.on(flags).strength, strong.on(flags).seed) == (0.5, 9)
    assert equalise([plain], 30)[0][0].on(flags).steps == 10
    assert plain.on({"seed": "12", "source": "a fox"}).seed == 12  # text from a data file is read as a number, or
    with pytest.raises(ValueError, match="seed 'abc' is not a whole number"):
        plain.on({"seed": "abc"})


def test_equal_cost_follows_each_clips_own_options():
    chosen, _ = equalise(methods(["inversion_free", "random_noise"])[0])
    made = [method.on({"steps": 10}) for method in chosen]
    assert made[0].steps == 10
    assert [network_evaluations(settings) for settings in made] == [24, 24]


def test_methods_that_come_to_the_same_jobs_are_one():
    found = twins({"a": ["1", "2"], "b": ["1", "3"], "c": ["1", "2"], "d": [None, "2"], "e": [None, "2"], "f": []})
    assert found == {"c": "a"}
