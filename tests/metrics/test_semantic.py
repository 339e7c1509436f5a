"""Scores of meaning against their plain definitions, on arrays and on answers."""

import itertools

import numpy as np
import pytest

from flowedit.metrics.catalogue import METRICS
from flowedit.metrics.semantic import clip_f_adjacent, clip_f_all, clip_t, five_acc, q_edit, structure_distance


def units(n, d, seed=0):
    found = np.random.default_rng(seed).normal(size=(n, d))
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def test_clip_t_is_a_hundred_cosines_and_never_below_zero():
    images = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, 1.0]])
    assert clip_t(images, np.array([1.0, 0.0])) == pytest.approx([100, 60, 0, 0])


def test_clip_f_over_all_pairs_is_the_double_loop():
    images = units(7, 5)
    loop = [images[i] @ images[j] for i in range(7) for j in range(7) if i != j]
    assert clip_f_all(images) == pytest.approx(np.mean(loop), abs=1e-12)
    assert clip_f_all(np.repeat(images[:1], 4, 0)) == pytest.approx(1)
    assert clip_f_all(np.eye(3)) == pytest.approx(0)
    assert clip_f_all(np.array([[1.0, 0.0], [-1.0, 0.0]])) == -1
    with pytest.raises(ValueError, match="two or more, not 1"):
        clip_f_all(images[:1])


def test_clip_f_of_neighbours_looks_one_frame_ahead():
    images = units(4, 3)
    assert clip_f_adjacent(images) == pytest.approx([images[i] @ images[i + 1] for i in range(3)])


def test_structure_distance_is_the_slow_sum():
    rng = np.random.default_rng(1)
    source, edit = rng.normal(size=(2, 2, 5, 3)).astype(np.float32)

    def similarity(k, i, j):
        return sum(k[i] * k[j]) / np.sqrt(sum(k[i] ** 2)) / np.sqrt(sum(k[j] ** 2))

    slow = [
        1e3 * np.mean([(similarity(s, i, j) - similarity(e, i, j)) ** 2 for i in range(5) for j in range(5)])
        for s, e in zip(source, edit, strict=True)
    ]
    assert structure_distance(source, edit) == pytest.approx(slow, rel=1e-5)


def test_structure_distance_knows_angles_only_and_is_bounded():
    keys = np.random.default_rng(2).normal(size=(1, 6, 4))
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    assert structure_distance(keys, 3 * keys @ turn) == pytest.approx([0], abs=1e-20)
    one, opposite = np.array([[[1.0, 0.0], [1.0, 0.0]]]), np.array([[[1.0, 0.0], [-1.0, 0.0]]])
    assert structure_distance(one, opposite) == pytest.approx([2000])  # half of the four pairs differ by 2
    assert np.isfinite(structure_distance(one, 0 * one)).all()
    with pytest.raises(ValueError, match="cannot be compared"):
        structure_distance(keys, keys[:, :5])


def test_q_edit_is_the_product():
    assert q_edit(0.5, 26) == 13


@pytest.mark.parametrize(("old", "new", "choice"), list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("asked", [True, False])
def test_five_acc_of_every_combination_of_answers(old, new, choice, asked):
    said = {"a fox?": "no" if old else "yes", "a panda?": "yes" if new else "no", "a) b)": "b" if choice else "a"}
    questions = []

    def ask(question):
        questions.append(question)
        return said[next(end for end in said if question.endswith(end))]

    found = five_acc(ask, "a fox?" if asked else "", "a panda?", "a) b)")
    yes_no = new and (old or not asked)
    parts = [yes_no, choice, yes_no or choice, yes_no and choice]
    names = ["yes_no", "multiple_choice", "union", "intersection"]
    assert found == {"five_acc": sum(parts) / 4, **{f"five_acc_{k}": v for k, v in zip(names, parts, strict=True)}}
    assert set(found) <= set(METRICS)
    assert ["YES or NO" in question for question in questions].count(False) == 1
    assert "letter" in questions[-1]
    assert any(question.endswith("a fox?") for question in questions) == (asked)


@pytest.mark.parametrize("answer", ["b", " B\n", "(b)", "b) a panda", "B. a panda", "**b**"])
def test_the_letter_of_an_answer_is_its_first_word(answer):
    assert five_acc(lambda _: answer, "", "?", "?")["five_acc_multiple_choice"] == 1


@pytest.mark.parametrize("answer", ["", "a", "(A) b", "bear", "both", "?!"])
def test_a_word_that_starts_with_b_is_no_letter(answer):
    assert five_acc(lambda _: answer, "", "?", "?")["five_acc_multiple_choice"] == 0


@pytest.mark.parametrize(
    ("answer", "right"), [("YES", 1), ("Yes, it is.", 1), (" yes\n", 1), ("No", 0), ("yesterday", 0)]
)
def test_yes_is_a_word(answer, right):
    assert five_acc(lambda _: answer, " ", "?", "?")["five_acc_yes_no"] == right
