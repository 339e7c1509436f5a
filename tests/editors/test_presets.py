"""Presets: the published numbers, who wins over whom, and how they are compared."""

import pytest
from presets import ATTENTION, FULL, NUMBERS, at, carries

from flowedit.config import compose
from flowedit.editors.spec import EDITORS
from flowedit.evaluation.methods import methods
from flowedit.evaluation.options import EvaluationOptions, evaluation


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
def test_a_preset_carries_the_published_numbers_on_every_backbone(preset):
    carries(preset, *(NUMBERS | ATTENTION)[preset])


@pytest.mark.parametrize("preset", NUMBERS)
def test_a_backbone_that_knows_its_attention_keeps_its_place_in_a_preset(preset):
    pocket, full = (compose.compose({"mode": preset, "backbone": name}) for name in ("pocket", "cogvideox-2b"))
    own = compose.compose({"backbone": "pocket"}).mask
    assert (pocket.mask.blocks, pocket.mask.decay) == (own.blocks, own.decay) == ((0.188,), 16.0)
    for key in ("steps", "strength", "draws", "target_guidance_scale", "averaging", "mask.pool", "mask.name"):
        assert at(pocket, key) == at(full, key)
    assert pocket.mode == full.mode


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


def test_a_preset_is_a_mode_and_not_a_label():
    for key in ({"mode.preset": "flowedit"}, {"mode": "flowalign", "mode.preset": "flowedit"}):
        with pytest.raises(ValueError, match="mode=PRESET"):
            compose.compose(key)


def test_a_setting_of_the_editor_is_not_one_of_other_modes():
    with pytest.raises(ValueError, match=r"belongs to mode=inversion_free$"):
        compose.compose({"mode": "inversion"}, ["mode.decoupling=0.1"])
