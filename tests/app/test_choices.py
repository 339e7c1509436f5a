"""The accordion of the page: every option that may be set from outside, once, in the words of its declaration."""

import pytest

from flowedit.app.limits import closed
from flowedit.app.models import words_of
from flowedit.app.page import choices, sentences
from flowedit.app.page.chips import marked, of_prompts, strange
from flowedit.app.page.gather import Asked, clip_id, mask_of, numbers, settings_of
from flowedit.config.compose import compose, options
from flowedit.config.options import declared
from flowedit.config.schema import Settings
from flowedit.editors.spec import EDITORS
from flowedit.messages import InputError


def asked(**fields):
    usual = {
        "clip": {"clip": {"id": "0" * 32}}, "instruction": "replace the fox with a panda", "own": False, "target": "",
        "source": "a fox moves right over green grass", "words": {}, "quality": "auto", "strength": 0.8, "seed": 0,
        "backbone": "pocket",
    }  # fmt: skip
    return Asked(**{**usual, **fields})


def test_every_open_option_stands_on_the_page_once():
    common = {each.key: each for each in declared(Settings)}
    own = {each.key: each for spec in EDITORS.values() for each in declared(spec.options, "mode.")}
    known = common | own
    entries = choices.entries()
    shown = [(entry["key"], mode) for entry in entries for mode in entry["modes"] or [None]]
    assert len(shown) == len(set(shown))
    wanted = {
        key
        for key, each in known.items()
        if closed(each, ()) is None and key not in choices.NAMES and not key.startswith(("backbone.", "quality."))
    }
    assert wanted == {key for key, _ in shown} | {key for key in choices.ON_PAGE if closed(known[key], ()) is None}
    for entry in entries:
        for mode in entry["modes"] or [None]:
            own = known if mode is None else {d.key: d for d in declared(EDITORS[mode].options, "mode.")}
            assert (entry["help"], entry["range"]) == (own[entry["key"]].option.help, own[entry["key"]].option.range)
            assert entry["typed"] == own[entry["key"]].typed


def test_an_option_of_editors_names_exactly_those_that_have_it():
    shown = {}
    for entry in choices.entries():
        shown.setdefault(entry["key"], []).extend(entry["modes"] or [])
    for key, modes in shown.items():
        having = [name for name, spec in EDITORS.items() if key in {d.key for d in declared(spec.options, "mode.")}]
        assert not modes or sorted(modes) == sorted(having)


def test_what_is_closed_from_outside_is_not_offered_unless_the_owner_allows_it():
    shown = {entry["key"] for entry in choices.entries()}
    assert not shown & {"clip", "out", "user_mask", "caption", "save", "log", "runtime.cache"}
    assert "caption" in {entry["key"] for entry in choices.entries(("caption",))}


@pytest.mark.parametrize("mode", options("mode"))
def test_defaults_are_those_that_an_edit_has(mode):
    usual, settings = choices.default_texts({"mode": mode}), compose({"mode": mode})
    assert usual["mode"] == mode
    assert float(usual["strength"]) == pytest.approx(settings.strength)
    assert int(usual["steps"]) == settings.steps
    assert choices.editor_of(mode) == settings.mode.name


def test_a_choice_that_does_not_compose_has_no_defaults():
    assert choices.default_texts({"mode": "nonsense"}) == {}


def test_only_what_differs_from_the_usual_is_sent():
    assert settings_of(asked()) == {
        "backbone": "pocket",
        "source": "a fox moves right over green grass",
        "instruction": "replace the fox with a panda",
    }
    made = settings_of(asked(quality="best", strength=0.6, seed=3, options={"mask.grow": "0.1"}))
    assert (made["quality"], made["strength"], made["seed"]) == ("best", 0.6, 3)
    assert made["mask.grow"] == "0.1"


def test_a_slider_that_was_left_alone_leaves_a_tasks_own_strength():
    made = settings_of(asked(instruction="add a red car"))
    assert "strength" not in made
    assert compose(made | {"target": "a fox and a red car", "target_words": "car", "task": "add"}).strength == 1.0
    assert settings_of(asked(instruction="add a red car", strength=0.7))["strength"] == 0.7


def test_words_that_were_clicked_take_the_place_of_the_instructions_own():
    made = settings_of(asked(words={"source_words": "fox", "target_words": "panda"}))
    assert "instruction" not in made
    assert made["target"] == "a panda moves right over green grass"
    assert (made["source_words"], made["target_words"]) == ("fox", "panda")


def test_sentences_of_ones_own_need_no_instruction():
    made = settings_of(asked(own=True, target="a panda moves right over green grass"))
    assert "instruction" not in made
    assert made["target"].startswith("a panda")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"clip": None}, "no clip yet"),
        ({"instruction": "  "}, "Write what should change"),
        ({"own": True}, "Write what the clip should show"),
    ],
)
def test_a_page_that_says_too_little_is_answered_in_one_line(fields, said):
    read = clip_id if "clip" in fields else settings_of
    with pytest.raises(InputError, match=said) as refused:
        read(asked(**fields))
    assert "\n" not in str(refused.value)


def test_a_mask_is_sent_only_where_it_was_touched():
    assert mask_of(asked()) is None
    assert mask_of(asked(look="1" * 32, adjust={"quantile": None, "strokes": []})) is None
    assert mask_of(asked(look="1" * 32, adjust={"quantile": None, "grow": 0.0})) == {
        "look": "1" * 32,
        "quantile": None,
        "grow": 0.0,
    }
    touched = mask_of(asked(look="1" * 32, adjust={"quantile": 0.7, "strokes": []}))
    assert touched == {"look": "1" * 32, "quantile": 0.7, "strokes": []}


def test_chips_are_the_words_that_name_something_those_of_the_object_on():
    source, target = of_prompts("a red fox, and a car", "a panda", {"source": "red fox", "target": "panda"})
    assert [(w["text"], w["on"], w["follows"]) for w in source["words"]] == [
        ("red", True, False),
        ("fox", True, True),
        ("car", False, False),
    ]
    assert [w["text"] for w in target["words"]] == ["panda"]


def test_words_that_the_model_does_not_know_are_marked_before_edit_is_pressed():
    of = asked(instruction="replace the white dog with a panda", source="a white Dog moves right over green grass")
    chips = marked(sentences.sides(of), {}, words_of("pocket"))
    words = {(side["side"], word["text"]): word["strange"] for side in chips for word in side["words"]}
    assert words["source_words", "Dog"]
    assert words["source_words", "white"]
    assert not words["source_words", "grass"]
    assert not words["target_words", "panda"]
    assert strange(chips) == ["white", "Dog"]
    assert "pocket does not know “white”, “Dog”." in sentences.told(of, chips, str)
    known = asked()
    assert "does not know" not in sentences.told(known, marked(sentences.sides(known), {}, words_of("pocket")), str)
    for name in ("cogvideox-2b", "nobody"):  # these read any word, or are nothing
        assert strange(marked(sentences.sides(of), {}, words_of(name))) == []


def test_marks_for_another_model_leave_what_was_clicked():
    before = of_prompts("a red fox", "a panda", {"source": "fox", "target": "panda"})
    source, target = marked(before, {"source_words": "red fox", "target_words": ""}, frozenset({"fox"}))
    assert [(word["text"], word["on"], word["strange"]) for word in source["words"]] == [
        ("red", True, True), ("fox", True, False)
    ]  # fmt: skip
    assert [(word["on"], word["strange"]) for word in target["words"]] == [(False, True)]


@pytest.mark.parametrize(
    ("vary", "typed", "blamed"),
    [("seed", "0, 1, banana", "banana"), ("seed", "0 1.5", "1.5"), ("strength", "0.5, x, y", "x")],
)
def test_a_row_of_numbers_blames_what_is_none(vary, typed, blamed):
    with pytest.raises(InputError, match=rf"^'{blamed}' is not a (whole )?number: write numbers with commas"):
        numbers(vary, typed)
    assert numbers(vary, "0, 1") == [0, 1]
