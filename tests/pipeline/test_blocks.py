"""`mask.blocks=auto`: the block that sees what changes is found, costs what is said, and is remembered."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import flowedit
from flowedit.config import compose
from flowedit.evaluation.bench.scene import true_edit
from flowedit.masks.agreement import Agreement, depths
from flowedit.pipeline import resume
from flowedit.pipeline.looks import blocks
from flowedit.pipeline.plan import LOOK_DRAWS, brief
from flowedit.pipeline.record import Session

FAST = {"steps": 3, "strength": 1.0, "cuts": "none"}

SEEING = "0.0625", "0.188"
"""The two of eight blocks that do not look away from objects."""


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket", **{"runtime.device": "cpu"}, **FAST)


def words_of(made):
    return {
        "source": made.source.caption,
        "target": made.target.caption,
        "source_words": ", ".join(made.source_words),
        "target_words": ", ".join(made.target_words),
    }


def found_in(result):
    (said,) = [text for text in result.notices if "mask.blocks=auto" in text]
    return re.search(r"mask\.blocks=\[([\d.]+)\]", said)[1], said


def test_it_reads_the_block_that_sees_and_costs_what_is_said(editor):
    made = true_edit(300, "replace", editor.backbone)
    auto = editor.edit_frames(made.source.frames, **words_of(made), **{"mask.blocks": "auto"})
    block, said = found_in(auto)
    assert block in SEEING
    assert "where the velocities differ" in said
    given = editor.edit_frames(made.source.frames, **words_of(made), **{"mask.blocks": [float(block)]})
    assert np.array_equal(auto.frames, given.frames)
    assert auto.run["network_evaluations"] == given.run["network_evaluations"] + 2 * LOOK_DRAWS
    settings = compose.compose({**FAST, **words_of(made), "mask.blocks": "auto"})
    assert brief(settings).cost([0.9, 0.6, 0.3, 0.0]) == auto.run["network_evaluations"]


def test_a_mode_that_never_reads_the_source_compares_with_the_empty_prompt(editor):
    made = true_edit(301, "replace", editor.backbone)
    result = editor.edit_frames(made.source.frames, **words_of(made), mode="random_noise", **{"mask.blocks": "auto"})
    assert found_in(result)[0] in SEEING


def test_a_mask_that_joins_takes_the_place_of_the_difference(editor, tmp_path):
    made = true_edit(302, "replace", editor.backbone)
    more = {"user_mask": (made.mask > 0.5), "mask.user": "join", "mask.blocks": "auto"}
    result = editor.edit_frames(made.source.frames, **words_of(made), **more)
    block, said = found_in(result)
    assert "with your mask" in said
    assert block in SEEING


def test_it_needs_words_and_another_mask_never_asks(editor):
    made = true_edit(303, "replace", editor.backbone)
    plain = editor.edit_frames(made.source.frames, **words_of(made), mask="none", **{"mask.blocks": "auto"})
    assert not any("auto reads" in text for text in plain.notices)
    assert not brief(compose.compose({**words_of(made), "mask": "none", "mask.blocks": "auto"})).looks_for_block


def test_the_block_is_the_one_whose_lesser_agreement_is_greatest():
    found = [Agreement(0.99, -0.4), Agreement(0.5, 0.9), Agreement(0.7, 0.6), Agreement(0.2, 0.95)]
    assert blocks.best(found) == 2


def test_a_kept_choice_is_not_made_again(editor, tmp_path, monkeypatch):
    made, x = true_edit(304, "replace", editor.backbone), torch.zeros(1, 16, 3, 16, 16)
    backbone = editor.backbone
    settled = brief(compose.compose({**FAST, **words_of(made), "mask.blocks": "auto"}))
    prompts = {side: backbone.embed(getattr(settled.settings, side)) for side in ("source", "target")}
    journal, session = resume.Journal(tmp_path), Session(backbone.device)
    args = settled, backbone, prompts, x, slice(0, 3), None, session, journal
    monkeypatch.setattr(blocks, "looked_at", lambda *rest: [Agreement(0.0, 0.0)] * 4 + [Agreement(1.0, 1.0)] * 4)
    first = blocks.settled(*args).settings.mask.blocks
    assert first == tuple(depths(8)[4])
    monkeypatch.setattr(blocks, "looked_at", lambda *rest: pytest.fail("it looked again"))
    assert blocks.settled(*args).settings.mask.blocks == first
    plain = replace(settled, settings=compose.compose({**FAST, **words_of(made)}))
    assert blocks.settled(plain, *args[1:]) is plain


def test_kept_objects_are_not_what_differs(editor):
    two = {
        "source": "a fox and a car move right over green grass", "source_words": "fox, car",
        "target": "a panda and a car move right over green grass", "target_words": "panda, car",
    }  # fmt: skip
    backbone, made = editor.backbone, brief(compose.compose({**two, "mask.blocks": "auto"}))
    prompts = {side: backbone.embed(two[side]) for side in ("source", "target")}
    looks = blocks.looks_of(made, prompts)
    assert [len(each.tokens) for each in looks] == [2, 2]
    assert [list(each.edited) for each in looks] == [[0], [0]]
