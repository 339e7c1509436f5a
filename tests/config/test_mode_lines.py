"""Every mode and preset says in two lines what it is, with its paper, and what it is good at; lists show them."""

import re
from pathlib import Path

import pytest

from flowedit.config import compose
from flowedit.config.mode_lines import mode_lines
from flowedit.messages import InputError

FILES = sorted((Path(__file__).resolve().parents[2] / "conf" / "mode").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_mode_says_what_it_is_its_paper_and_what_it_is_good_at(file):
    head = [line for line in file.read_text(encoding="utf-8").splitlines() if "@package" not in line][:2]
    lines = mode_lines(file.stem)
    assert head == [f"# {lines.what}", f"# Good at: {lines.good_at}"]
    assert re.search(r"20\d\d, arXiv \d{4}\.\d{4,5}\b", lines.what), "the paper's year and number"
    assert len(lines.good_at) > 20
    assert lines.good_at.endswith(".")


def test_a_mode_of_a_plug_in_has_no_lines():
    assert mode_lines("nudge") == ("", "", True, "")


def test_the_lists_show_both_lines(command):
    shown = "".join(command("list", what)[1] for what in ("editors", "presets"))
    for mode in compose.options("mode"):
        assert mode_lines(mode).what in shown
        assert f"Said to be good at: {mode_lines(mode).good_at}" in shown


def test_the_lists_say_which_modes_have_no_mask_and_which_way_the_editors_go(command):
    shown = command("list", "editors", "presets")[1].splitlines()
    entries = {line.split()[0]: line for line in shown if re.match(r"  \w", line)}
    for mode in compose.options("mode"):
        bare = compose.compose({"mode": mode}).mask.name == "none"
        assert bare == bool(re.match(rf"  {mode} +no mask  ", entries[mode]))
    heads = [shown.index(f"  {kind}:") for kind in ("straight from the source", "through noise")]
    places = [next(i for i, line in enumerate(shown) if line.startswith(f"  {mode} ")) for mode in ("dvrf", "dnaedit")]
    assert heads[0] < places[0] < heads[1] < places[1]
    assert command("list", "methods")[1] == command("list", "modes")[1] == "\n".join(shown) + "\n"


def test_a_list_has_the_recipes_of_attention_as_their_files_tell_them(command):
    folder = FILES[0].parents[1] / "attention"
    heads = {file.stem: file.read_text(encoding="utf-8").splitlines()[0][2:] for file in folder.glob("*.yaml")}
    shown = [re.split(r"  +", line, maxsplit=1) for line in command("list", "attention")[1].splitlines()]
    assert dict(shown) == {name: head for name, head in heads.items() if name != "none"}
    assert "splitflow is a mode: flowedit list editors presets" in command("list", "splitflow")[2]


ROOMS = sorted((Path(__file__).resolve().parents[2] / "flowedit" / "editors").glob("*/README.md"))


@pytest.mark.parametrize("page", ROOMS, ids=lambda page: page.parent.name)
def test_the_tables_of_the_methods_say_which_mask_each_has_by_itself(page):
    found = re.findall(r"^\|(?: –)? (`[^|]*`) \| ([^|]*) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    said = {name: mask.removeprefix("takes ") for names, mask in found for name in re.findall(r"`(\w+)`", names)}
    assert len(said) > 8
    assert said == {name: compose.compose({"mode": name}).mask.name for name in said}


def test_an_editor_without_its_file_is_told_which_file():
    with pytest.raises(InputError, match=r"'inversion' has an editor .*: write them in conf/mode/inversion\.yaml"):
        compose.one_of("mode", "inversion", ["flowedit"])
    with pytest.raises(InputError, match="unknown mode 'invertion'"):
        compose.one_of("mode", "invertion", ["flowedit"])
