"""Every mode and preset says in two lines what it is, with its paper, and what it is good at; lists show them."""

import re
from pathlib import Path

import pytest

from flowedit.config import compose
from flowedit.config.mode_lines import mode_lines

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
    assert mode_lines("nudge") == ("", "")


def test_the_lists_show_both_lines(command):
    shown = "".join(command("list", what)[1] for what in ("editors", "presets"))
    for mode in compose.options("mode"):
        assert mode_lines(mode).what in shown
        assert f"Said to be good at: {mode_lines(mode).good_at}" in shown


ROOMS = sorted((Path(__file__).resolve().parents[2] / "flowedit" / "editors").glob("*/README.md"))


@pytest.mark.parametrize("page", ROOMS, ids=lambda page: page.parent.name)
def test_the_tables_of_the_methods_say_which_mask_each_has_by_itself(page):
    found = re.findall(r"^\|(?: –)? (`[^|]*`) \| ([^|]*) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    said = {name: mask.removeprefix("takes ") for names, mask in found for name in re.findall(r"`(\w+)`", names)}
    assert len(said) > 8
    assert said == {name: compose.compose({"mode": name}).mask.name for name in said}
