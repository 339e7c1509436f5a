"""Quality: a share of the steps of any mode on any backbone, unless the user counts them himself."""

from dataclasses import asdict, replace

import pytest
import yaml

from flowedit.config import compose, edit_file
from flowedit.config.quality import steps_at
from flowedit.declare import options_of
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.plan import brief, intervals, network_evaluations

PROMPTS = {"source": "a fox", "target": "a panda", "source_words": "fox", "target_words": "panda"}
SHARES = {"draft": 0.125, "fast": 0.325, "balanced": 0.5, "best": 1.0}


def said(flags, overrides=()):
    return [text for text in of_unused(brief(compose.compose(PROMPTS | flags, overrides))) if "quality" in text]


@pytest.mark.parametrize("backbone", ["pocket", "cogvideox-2b", "wan2.1-t2v-14b"])
@pytest.mark.parametrize("mode", compose.options("mode"))
def test_every_mode_on_every_backbone_has_every_quality(mode, backbone):
    own = {"mode": mode, "backbone": backbone}
    best = compose.compose(own | {"quality": "best"})
    costs = []
    for name, share in SHARES.items():
        settings = compose.compose(own | {"quality": name})
        assert (settings.quality.name, settings.quality.share) == (name, share)
        assert settings.steps == steps_at(best.steps, share)
        assert abs(intervals(settings) / settings.steps - intervals(best) / best.steps) < 1 / settings.steps
        costs.append(network_evaluations(settings))
    assert costs == sorted(set(costs))


def test_the_default_is_what_was_measured_and_else_what_was_published():
    assert network_evaluations(compose.compose({"quality": "best"})) == 96
    assert compose.compose().quality.name == "fast"
    assert network_evaluations(compose.compose()) == 30
    for other in (
        {"backbone": "cogvideox-2b"},
        {"mode": "flowedit"},
        {"mode": "flowdirector_v2"},
        {"mode": "inversion"},
    ):
        assert compose.compose(other) == compose.compose(other | {"quality": "best"})


def test_what_counts_steps_is_brought_along():
    settings = compose.compose({"mode": "flowdirector_v2", "quality": "fast"})
    assert (settings.steps, settings.mode.fixed_noise_steps) == (17, 3)
    settings = compose.compose({"mode": "flowdirector_v2", "quality": "fast"}, ["mode.fixed_noise_steps=7"])
    assert (settings.steps, settings.mode.fixed_noise_steps) == (17, 7)
    assert compose.compose({"mode": "flowdirector_v2", "steps": 20}).mode.fixed_noise_steps == 8


@pytest.mark.parametrize("mode", compose.options("mode"))
@pytest.mark.parametrize("quality", SHARES)
def test_what_counts_steps_is_never_rounded_away(mode, quality):
    best, made = (compose.compose({"mode": mode, "quality": each}).mode for each in ("best", quality))
    for name, option in options_of(type(made)).items():
        if option.counts_steps:
            whole, count = getattr(best, name), getattr(made, name)
            assert count == max(1, int(SHARES[quality] * whole + 0.5)) if whole else count == 0


def test_dynaedit_tries_several_noises_at_any_quality():
    assert [compose.compose({"mode": "dynaedit", "quality": each}).mode.select_steps for each in SHARES] == [1, 1, 2, 3]


def test_a_given_grid_has_no_steps_for_a_quality_to_share():
    given = {"mode.grid": "given", "mode.times": [1 - i / 10 for i in range(11)]}
    settings = compose.compose({"mode": "flowdirector_v2", "quality": "draft"} | given)
    assert (intervals(settings), settings.mode.fixed_noise_steps) == (10, 8)
    for options in (given, given | {"mode": "flowdirector_v2", "quality": "draft"}):
        texts = of_unused(brief(compose.compose(PROMPTS | options)))
        assert not any(text.startswith(("steps", "mode.fixed")) for text in texts)
    assert any("steps=7 has no effect" in text for text in of_unused(brief(compose.compose(given | {"steps": 7}))))


@pytest.mark.parametrize(
    ("whole", "share", "strength", "steps"),
    [(40, 0.25, 0.8, 10), (50, 0.25, 0.8, 13), (33, 0.125, 1, 5), (1, 0.125, 1, 1), (40, 0.3, 1, 12),
     (40, 0.25, 0.05, 20), (40, 0.25, 0.001, 40), (40, 0.25, 0, 10)],
)  # fmt: skip
def test_a_share_of_steps_is_rounded_up_and_enough_for_one_at_a_low_strength(whole, share, strength, steps):
    assert steps_at(whole, share, strength) == steps


@pytest.mark.parametrize(
    ("flags", "overrides"),
    [({"steps": 20}, ()), ({"steps": "20", "quality": "draft"}, ()), ({}, ("quality=draft", "steps=20"))],
)
def test_steps_that_are_set_win_and_a_quality_beside_them_is_told(flags, overrides):
    assert compose.compose(PROMPTS | flags, overrides).steps == 20
    asked = "quality" in flags or overrides
    assert said(flags, overrides) == (["quality=draft does not choose the steps: steps=20 is set"] if asked else [])


@pytest.mark.parametrize("quality", [{"quality": "fast"}, {"quality": "best"}, {"quality.share": "0.325"}])
@pytest.mark.parametrize("steps", [13, 40])
def test_a_quality_that_was_chosen_beside_steps_is_told_even_where_it_is_the_usual_one(quality, steps):
    settings = compose.compose(PROMPTS | quality | {"steps": steps})
    name = quality.get("quality", "fast")
    text = f"quality={name} does not choose the steps: steps={steps} is set"
    assert [each for each in of_unused(brief(replace(settings, seed=3))) if "quality" in each] == [text]
    assert settings == compose.compose(PROMPTS | {"steps": steps, "quality": name})
    assert edit_file.swept([f"{key}={value}" for key, value in quality.items()] + [f"steps={steps}"]) == replace(
        settings, **dict.fromkeys(("source", "target")), source_words="", target_words=""
    )


def test_a_quality_of_its_own_says_nothing_beside_steps():
    assert said({"steps": 20, "quality": "auto"}) == said({"steps": 20}) == said({"quality": "fast"}) == []
    chosen, usual = (compose.compose({"steps": 20} | more) for more in ({"quality": "fast"}, {}))
    assert (chosen, hash(chosen.quality), asdict(chosen)) == (usual, hash(usual.quality), asdict(usual))
    assert usual == chosen
    assert chosen.quality != compose.compose({"quality": "best"}).quality


def test_a_quality_that_acts_is_not_told():
    assert said({"quality": "draft"}) == said({"quality": "best", "strength": "0.3"}) == []
    given = {"mode.grid": "given", "mode.times": [1, 0.5, 0]}
    assert said(given | {"quality": "draft"}) == [
        "quality.share=0.125 has no effect: it needs a grid that is made, not given"
    ]


def test_an_edit_s_file_and_a_sweep_take_it_and_steps_win_there_too(tmp_path):
    file = tmp_path / "edit.yaml"
    for row, steps in (({}, 13), ({"steps": 9}, 9), ({"quality": "balanced"}, 20)):
        file.write_text(yaml.safe_dump({"clip": "a.mp4", **PROMPTS, **row}), encoding="utf-8")
        assert compose.compose(edit_file.read_edit(file)).steps == steps
        if "quality" not in row:
            assert edit_file.swept([f"clip={file}"]).steps == steps
            assert edit_file.swept([f"clip={file}", "steps=7"]).steps == 7
    assert edit_file.swept(["quality=draft"]).steps == 5
    assert edit_file.swept(["quality=draft", "steps=7"]).steps == 7


def test_an_edit_strength_is_a_guidance_from_the_source_prompt():
    made = brief(compose.compose(PROMPTS | {"quality": "best", "edit_strength": 1.5, "source_guidance_scale": 3}))
    assert made.from_source
    assert made.scales == {"source": (1.0,), "target": (4.5,)}
    assert not brief(compose.compose(PROMPTS)).from_source
    random = brief(compose.compose(PROMPTS | {"mode": "random_noise", "edit_strength": 2}))
    assert (random.from_source, random.scales["target"]) == (False, (5.0,))


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"mode": "random_noise"}, "edit_strength=2 has no effect: it needs a mode that evaluates the source prompt"),
        ({"source_guidance_scale": 3}, "source_guidance_scale=3.0 has no effect: it needs a mode that evaluates the "
         "source prompt, and no edit_strength"),
        ({"mode.target_negative": "source"}, "mode.target_negative=source has no effect: it needs no edit_strength, "
         "which steers away from the source"),
        ({"negative_prompt": "blurry"}, "negative_prompt=blurry has no effect: it needs a source guidance scale other "
         "than 1, or no edit_strength"),
    ],
)  # fmt: skip
def test_what_an_edit_strength_takes_the_place_of_is_told(flags, text):
    settings = compose.compose(PROMPTS | {"edit_strength": "2"} | flags)
    assert [each.replace("=2.0", "=2") for each in of_unused(brief(settings)) if "strength" in each] == [text]


@pytest.mark.parametrize(
    ("strength", "last", "heard"), [(0, 2, True), (0, 0, False), (0.5, 2, False), (None, 2, False)]
)
def test_an_edit_strength_of_zero_beside_steps_of_the_target_alone_is_told(strength, last, heard):
    options = PROMPTS | {"edit_strength": strength, "mode.target_only_steps": last}
    texts = [each for each in of_unused(brief(compose.compose(options))) if "keep the clip" in each]
    told = ["edit_strength=0 does not keep the clip: mode.target_only_steps=2 goes by the prompt alone"]
    assert texts == (told if heard else [])


def test_a_recolouring_takes_the_steps_that_it_was_measured_at():
    words = {"source": "a red fox", "target": "a blue fox", "source_words": "red fox", "target_words": "blue fox"}
    settings = compose.compose(words)
    assert (settings.task, settings.quality.name, settings.steps) == ("recolour", "best", 36)


def test_the_help_of_an_edit_strength_says_its_range_and_what_leaves_it_out():
    from flowedit.cli.edit import edit_parser

    told = " ".join(edit_parser().format_help().partition("--edit-strength X")[2].partition("--out")[0].split())
    for part in ("0 not at all", "1 as far as the target's guidance scale says", "5 at most", "unset (null): plain"):
        assert part in told


def test_an_edit_strength_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"edit_strength 6\.0 is out of range: 0 to 5"):
        compose.compose({"edit_strength": 6.0})
