"""Words that the pocket checkpoint never learned: an error where they are the edit, a notice elsewhere."""

from pathlib import Path

import numpy as np
import pytest

import flowedit
from flowedit.media.writer import Writer
from flowedit.pocket import Vocabulary, draw, unknown_words

KNOWN = Vocabulary(classes=("fox", "panda"), grounds=("grass", "night"), motions=("right",))


def test_every_caption_of_a_vocabulary_is_learned():
    for seed in range(50):
        assert unknown_words(draw(seed, KNOWN).caption, KNOWN) == []


def test_unknown_words_are_named_as_written():
    assert unknown_words("A Wolf, moves left over green grass!", KNOWN) == ["Wolf", "left"]


@pytest.fixture(scope="module")
def editor():
    return flowedit.load("pocket", **{"runtime.device": "cpu"})


FOX = {"source": "a fox moves right over green grass", "target": "a panda moves right over green grass"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "a wolf moves right over green grass"},
        {"target": "a penguin moves right over green grass", "target_words": "penguin"},  # readable, and never seen
        {"source": "a dog moves right over green grass", "source_words": "dog"},
        {"target": "a purple fox moves right over green grass"},
    ],
)
def test_an_edit_word_that_was_never_learned_is_an_error_that_says_what_to_do(editor, clip_file, tmp_path, wrong):
    with pytest.raises(ValueError, match="never learned") as caught:
        editor.edit(clip_file, out=tmp_path / "out", **{**FOX, **wrong})
    text = str(caught.value)
    for part in ("fox, panda", "grass", "--backbone cogvideox-2b", "13.8 GB", "8.9 GiB of GPU memory"):
        assert part in text
    assert "\n" not in text
    assert not (tmp_path / "out").exists()


def test_articles_and_prepositions_are_no_edit(editor, clip_file, tmp_path):
    side = {"source": "the fox moves right over green grass", "target": "this panda moves right in a dark night"}
    words = {"source_words": "the fox", "target_words": "this panda"}
    result = editor.edit(clip_file, out=tmp_path / "out", steps=2, strength=1, **side, **words)
    assert any("never learned 'this', 'in'" in text for text in result.run["notices"])


def test_other_unknown_words_are_a_notice(editor, clip_file, tmp_path):
    side = {name: text.replace("a ", "a cheerful ", 1) for name, text in FOX.items()}
    result = editor.edit(clip_file, out=tmp_path / "out", steps=2, strength=1, **side)
    said = [text for text in result.run["notices"] if "never learned 'cheerful'" in text]
    assert [text.partition(":")[0] for text in said] == ["source", "target"]


def test_a_clip_that_the_autoencoder_cannot_carry_is_a_notice(editor, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), np.uint8)
    with Writer(tmp_path / "noise.mp4", (64, 64), 8) as writer:
        writer.write(noise)
    result = editor.edit(tmp_path / "noise.mp4", out=tmp_path / "out", steps=2, strength=1, **FOX)
    assert any("dB only" in text for text in result.run["notices"])
    plain = editor.edit(
        Path(__file__).parents[2] / "examples/fox.mp4", out=tmp_path / "fox", steps=2, strength=1, **FOX
    )
    assert not any("dB only" in text for text in plain.run["notices"])


def test_a_clip_from_text_alone_needs_every_word_learned(editor, tmp_path):
    """Nothing but the prompt says what to make: a word that means nothing to the model is refused, as an edit's is."""
    for prompt in ("a wolf moves right over green grass", "a cheerful fox moves right over green grass"):
        with pytest.raises(flowedit.InputError, match=r"pocket never learned '(wolf|cheerful)'\. It knows fox, "):
            flowedit.generate(prompt, out=tmp_path / "out", **{"runtime.device": "cpu"})
    assert not (tmp_path / "out").exists()
    made = flowedit.generate("the fox moves right over green grass", steps=2, out=tmp_path / "out", frames=1)
    assert any("never learned 'the'" in text for text in made.run["notices"])
