"""The studio's words: every option has its place on the page, and messages send their reader there."""

import re

import gradio as gr
import pytest

from flowedit.app.desk.studio import Studio
from flowedit.app.labels import FIELDS, label, method, on_page
from flowedit.app.limits import closed
from flowedit.app.options import studio_options
from flowedit.app.page import choices
from flowedit.app.page.page import build
from flowedit.cli.flags import FLAGS
from flowedit.config.compose import options
from flowedit.config.wording import known


@pytest.mark.parametrize("allow", [(), ("caption", "runtime")])
def test_every_option_that_may_be_set_is_where_its_label_says(tmp_path, allow):
    page = build(Studio(studio_options({"out": str(tmp_path)})))
    shown = [str(getattr(block, "label", None) or getattr(block, "value", "")) for block in page.blocks.values()]
    for key in ("source", "target", "instruction", "quality", "strength", "modes", "evaluations"):
        assert FIELDS[key] in shown
    assert any(text.startswith("Seed") for text in shown)
    for text in (FIELDS["clip"], "All options", FIELDS["backbone"]):
        assert any(text in each for each in shown)
    entries = {entry["key"]: entry for entry in choices.entries(allow)}
    assert not set(entries) & set(FIELDS)
    for key in [key for key, each in known().items() if closed(each, allow) is None and key not in FIELDS]:
        if key in entries:
            section = entries[key]["section"]
            path = f"All options > {section[:1].upper()}{section[1:]} > {entries[key]['title']}"
            assert label(key) == path
            assert f"“{path}: 7”" in on_page(f"give {key}=7", allow) or key == "mode"
        else:
            assert key in choices.NAMES or key == "quality.share", "it may be set, and the page has no field for it"
            assert on_page(f"give {key}=7, or {key}.", allow) == f"give {key}=7, or {key}.", "it leads nowhere"
    assert set(choices.ON_PAGE) <= set(FIELDS)


@pytest.mark.parametrize("flag", FLAGS)
def test_no_flag_that_may_be_set_reaches_the_page(flag):
    typed = f"--{flag.replace('_', '-')}"
    told = on_page(f"it is refused ({typed}), so give {typed} 17 or {flag}=18.")
    if flag not in FIELDS and closed(known()[flag], ()) is not None:
        assert told.count(flag) + told.count(typed) >= 3, "it is not on this page, and is called as elsewhere"
    elif flag == "mode":
        assert told == "it is refused (“All options > The method > Mode”), so give the method “17” or the method “18”."
    else:
        name = label(flag)
        assert told == f"it is refused (“{name}”), so give “{name}: 17” or “{name}: 18”."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no source prompt: say what the clip shows (--source)", "say what the clip shows (“What the clip shows now”)"),
        ("(--fit crop fills the frame)", "(“All options > Which frames > Fit: crop” fills the frame)"),
        ('(fit="crop" fills the frame)', "(“All options > Which frames > Fit: crop” fills the frame)"),
        ("give source_words= or mask=none", "give “Words of what is there now” or “All options > Where > Mask: none”"),
        ("30 network evaluations, 1 network evaluation", "30 runs of the model, 1 run of the model"),
        ("give --evaluations 4 or more", "runs of the model, of each: 4” or more"),
        ("mode=inversion takes no mask", "the method “inversion: keeps what both sentences share"),
        ("mode=flowopt takes no mask", "the method “FlowOpt” takes no mask"),
        ('say flowedit edit CLIP "replace it"', "say “The change: replace it”"),
        ("start the studio with --allow runtime.cache", "the studio with --allow runtime.cache"),
        ("user_mask is not set from here", "user_mask is not set from here"),
        ("give --user-mask", "give “a mask of your own”"),
        ("'--source' is what somebody typed", "'--source' is what somebody typed"),
        (r"""'it\'s "a" --seed 5' needs seed=5""", r"""'it\'s "a" --seed 5' needs “Seed: 5”"""),
        ("clip seed=5.mp4 lasts 70.0 s: at most 60 s", "clip seed=5.mp4 lasts 70.0 s: at most 60 s"),
        ("clip seed=5 of two.mov is no video, give seed=5", "clip seed=5 of two.mov is no video, give “Seed: 5”"),
        ("give --caption", "give --caption"),
    ],
)  # fmt: skip
def test_a_message_speaks_the_words_of_the_page(text, told):
    assert told in on_page(text)


@pytest.mark.parametrize("name", options("mode"))
def test_a_method_is_called_by_what_it_is(name):
    said = method(name)
    assert 3 <= len(said) <= 120
    assert name in said or re.sub(r"\W", "", said).casefold() == re.sub(r"\W|_", "", name).casefold()
    assert dict(choices.methods())[said] == name


def test_the_methods_that_are_chosen_first_say_what_comes_of_them():
    """In words without noise, prompts or velocities."""
    for name in ("inversion_free", "inversion", "random_noise"):
        assert re.match(rf"{name}: (keeps|makes) ", method(name)), name
        assert not re.search(r"nois[ey] |prompt|velocit|\(", method(name).removeprefix(name)), name


def test_the_page_offers_its_methods_by_these_names(tmp_path):
    page = build(Studio(studio_options({"out": str(tmp_path)})))
    (menu,) = [block for block in page.blocks.values() if isinstance(block, gr.Dropdown) and block.label == "Methods"]
    assert ("FlowOpt", "flowopt") in [tuple(choice) for choice in menu.choices]
    assert set(menu.value) == {"random_noise", "inversion", "inversion_free"}
