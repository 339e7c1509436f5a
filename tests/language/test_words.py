"""Object words to tokens."""

import pytest

from flowedit.language.tasks import infer
from flowedit.language.words import content_words, occurrences, phrases, token_indices
from flowedit.pocket import KINDS, edit

PROMPT = "A fox chases a red fox, while the foxhound's fox-like friend sleeps."


def pieces(prompt, *marks):
    """Spans of a hand-made tokenisation, marked by '|' in a copy of the prompt."""
    spans, start = [], 0
    for part in marks:
        spans.append((start, start + len(part)))
        start += len(part)
    assert start == len(prompt)
    return spans


def text(prompt, spans):
    return [prompt[a:b] for a, b in spans]


def test_every_occurrence_of_a_whole_word_and_none_inside_another():
    assert text(PROMPT, occurrences(PROMPT, "FOX")) == ["fox", "fox", "fox"]
    assert [a for a, _ in occurrences(PROMPT, "fox")] == [2, 19, 45]


def test_a_phrase_is_taken_whole_where_it_stands():
    prompt = "A woman in a black dress and a red baseball cap walks a dog in a red park."
    assert text(prompt, occurrences(prompt, "a red baseball cap")) == ["a red baseball cap"]
    assert text(prompt, occurrences(prompt, "A  Black   dress, dog")) == ["a black dress", "dog"]


def test_a_phrase_that_does_not_stand_falls_into_its_words():
    prompt = "A dog, white and fluffy, sleeps."
    assert text(prompt, occurrences(prompt, "white fluffy dog")) == ["dog", "white", "fluffy"]


def test_articles_of_a_phrase_that_falls_apart_are_left_out():
    prompt = "the sky over a small fox and the sea"
    assert text(prompt, occurrences(prompt, "the fox")) == ["fox"]
    assert len(occurrences(prompt, "the")) == 2


def test_composed_decomposed_and_wide_letters_and_apostrophes_are_the_same():
    decomposed = "un cafe\u0301 noir, l’ami"
    assert text(decomposed, occurrences(decomposed, "caf\u00e9")) == ["cafe\u0301"]
    assert text(decomposed, occurrences(decomposed, "l'ami")) == ["l’ami"]
    assert text("a ＦＯＸ runs", occurrences("a ＦＯＸ runs", "fox")) == ["ＦＯＸ"]


def test_words_that_no_token_covers_are_refused():
    with pytest.raises(ValueError, match="no token covers"):
        token_indices("a fox", "fox", [(0, 1), (2, 2)])


def test_scripts_without_spaces_match_inside_a_run():
    prompt = "一只红色的狐狸在草地上奔跑"
    assert text(prompt, occurrences(prompt, "狐狸")) == ["狐狸"]
    assert text("ein Fuchsbau, kein Fuchs", occurrences("ein Fuchsbau, kein Fuchs", "fuchs")) == ["Fuchs"]


def test_punctuation_in_words_is_literal():
    prompt = 'a sign "stop (now)" and c++ code'
    assert text(prompt, occurrences(prompt, "stop (now)")) == ["stop (now)"]
    assert text(prompt, occurrences(prompt, "c++")) == ["c++"]


def test_a_missing_word_lists_the_words_of_the_prompt():
    with pytest.raises(ValueError, match=r"target_words: 'panda' is not in the prompt.*A, fox, chases, a, red, while"):
        occurrences(PROMPT, "panda", "target_words")


@pytest.mark.parametrize("words", ["", "  ", ",", " ; , "])
def test_no_words_are_no_tokens(words):
    assert phrases(words) == []
    assert token_indices(PROMPT, words, [(0, 5)]) == []


def test_subword_pieces_repeated_words_and_pieces_with_their_space():
    prompt = "the panda and pandas"
    spans = pieces(prompt, "the", " pan", "da", " and", " pan", "das")
    assert token_indices(prompt, "panda", spans) == [1, 2]
    assert token_indices(prompt, "pandas, the", spans) == [0, 4, 5]


def test_empty_pieces_and_lone_spaces_are_no_tokens_of_a_word():
    prompt = "red fox"
    spans = [(0, 3), (3, 4), (4, 7), (7, 7), (0, 0)]
    assert token_indices(prompt, "red fox", spans) == [0, 2]
    assert token_indices(prompt, "fox", spans) == [2]


@pytest.mark.parametrize(
    ("source", "target", "source_words", "target_words", "expected"),
    [
        ("a fox runs over grass", "a panda runs over grass", "fox", "panda", "replace"),
        ("a fox runs over grass", "green grass", "fox", "", "replace"),  # green is new
        ("a fox runs over grass", "an empty field of nothing, only grass", "fox", "", "replace"),  # and so is field
        ("a fox runs over grass", "nothing, only grass", "fox", "", "remove"),
        ("A fox runs over grass.", "There is no one on the grass", "fox", "", "replace"),
        ("A Fox and a car on grass.", "a car on the grass", "fox", "", "remove"),
        ("a car on grass", "a fox and a car on grass", "", "fox", "add"),
        ("a car on grass", "a fox on grass", "", "fox", "replace"),  # the car went
        ("a car on grass", "a car on grass", "", "car", "replace"),
        ("a car on grass", "", "car", "", "replace"),
        ("", "a car on grass", "", "car", "replace"),
        ("a car on grass", "grass", "", "", "replace"),  # without words nothing says where
        ("a car on grass", "a red car on grass", "car", "red car", "recolour"),
        ("a dark red car on grass", "A pale blue car on grass.", "dark red car", "pale blue car", "recolour"),
        ("a red car on grass", "a car on grass", "red car", "car", "recolour"),
        ("a car on green grass", "a red car on white snow", "car", "red car", "replace"),  # snow is no colour
        ("an apple on grass", "an orange on grass", "apple", "orange", "replace"),
        ("a car on grass", "a very old car on grass", "car", "very old car", "replace"),
        ("a car on grass", "a dark car on grass", "car", "dark car", "replace"),  # a shade alone is no colour
        ("a car on grass", "a red car on grass", "", "", "replace"),
    ],
)
def test_the_task_follows_from_prompts_and_words(source, target, source_words, target_words, expected):
    assert infer(source, target, source_words, target_words) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_pocket_world_s_kinds_are_told(kind):
    for seed in range(12):
        true = edit(seed, kind, (16, 16), 1)
        if "green pig" in true.target.caption:  # over green grass: the prompts have the same words
            continue
        texts = (true.source.caption, true.target.caption, *map(", ".join, (true.source_words, true.target_words)))
        assert infer(*texts) == {"remove": "remove", "add": "add", "recolour": "recolour"}.get(kind, "replace")


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (PROMPT, ("fox", "chases", "red", "while", "foxhound's", "fox-like", "friend", "sleeps")),
        ("A Fox and a fox over the Dog", ("Fox", "Dog")),
        ("nothing is there", ()),
        ("", ()),
        ("ein Fuchs läuft, 2 Hunde", ("ein", "Fuchs", "läuft", "2", "Hunde")),
        ("<script>fox</script>", ("script", "fox")),
    ],
)
def test_content_words_come_once_in_order_and_each_is_an_object_word(prompt, words):
    assert content_words(prompt) == words
    for word in words:
        assert occurrences(prompt, word)
