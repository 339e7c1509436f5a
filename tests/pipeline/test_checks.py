"""Words that the pocket checkpoint never learned: an error where they are the edit, a notice elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flowedit
from flowedit.config.compose import compose
from flowedit.media.writer import Writer
from flowedit.pipeline.record import Session
from flowedit.pipeline.run import prepare
from flowedit.pipeline.source import open_clip
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
def test_an_edit_word_that_was_never_learned_is_an_error_that_says_what_is_known(editor, clip_file, tmp_path, wrong):
    with pytest.raises(ValueError, match="does not know") as caught:
        editor.edit(clip_file, out=tmp_path / "out", **{**FOX, **wrong})
    text = str(caught.value)
    assert text.startswith("pocket does not know '")
    assert ": it knows fox, panda, car, apple, frog, orange, koala, turtle, tiny, huge, red, blue, green, …; " in text
    assert "backbone=NAME" in text  # what to type
    assert "flowedit doctor CLIP" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "made",
    [
        lambda clip: flowedit.edit(clip, source=FOX["source"], target="a wolf moves right over green grass"),
        lambda clip: flowedit.edit(clip, source=FOX["source"], instruction="replace the fox with a wolf"),
        lambda clip: flowedit.edit_frames(np.zeros((9, 64, 64, 3), np.uint8), source="a wolf", target="a fox"),
        lambda clip: flowedit.generate("a wolf moves right"),
    ],
)
def test_such_a_word_is_refused_before_the_model_is_opened(clip_file, monkeypatch, made):
    from flowedit.pipeline import run

    monkeypatch.setattr(run, "load_backbone", lambda *_: pytest.fail("the model was opened"))
    with pytest.raises(flowedit.InputError, match="pocket does not know 'wolf'"):
        made(clip_file)


def test_the_words_of_both_sides_are_named_at_once():
    side = {"source": "a white dog moves right over snow", "target": "a white lion moves right over snow"}
    words = {"source_words": "white dog", "target_words": "white lion"}
    with pytest.raises(flowedit.InputError, match=r"^pocket does not know 'white', 'dog', 'lion': it knows "):
        flowedit.edit_frames(np.zeros((9, 64, 64, 3), np.uint8), **side, **words)


def test_a_folder_of_another_world_refuses_nothing(backbone_2b, tmp_path):
    from flowedit.config.compose import compose
    from flowedit.pipeline.checks import check_learned

    asked = compose({"source": "a dog", "target": "a wolf"})
    check_learned(asked, backbone_2b)
    check_learned(asked, tmp_path / "none")
    check_learned(asked, None)


def test_articles_and_prepositions_are_no_edit(editor, clip_file, tmp_path):
    side = {"source": "the fox moves right over green grass", "target": "this panda moves right in a dark night"}
    words = {"source_words": "the fox", "target_words": "this panda"}
    result = editor.edit(clip_file, out=tmp_path / "out", steps=2, strength=1, **side, **words)
    assert any("does not know 'this', 'in'" in text for text in result.run["notices"])


def test_other_unknown_words_are_a_notice(editor, clip_file, tmp_path):
    side = {name: text.replace("a ", "a cheerful ", 1) for name, text in FOX.items()}
    result = editor.edit(clip_file, out=tmp_path / "out", steps=2, strength=1, **side)
    said = [text for text in result.run["notices"] if "does not know 'cheerful'" in text]
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
    assert not any("dB only" in text or "real footage" in text for text in plain.run["notices"])


def test_footage_of_which_little_is_seen_is_a_notice(editor, tmp_path):
    cup = Path(__file__).parents[2] / "examples/cup.mp4"
    result = editor.edit(cup, out=tmp_path / "out", steps=2, strength=1, frames=1, **FOX)
    assert any("1/4 of its width" in text and "real footage needs" in text for text in result.run["notices"])


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("photo.jpg", (64, 64), "this picture at 128x128, and knows"),  # a photo called a fox, however small it is
        ("photo.png", (90, 160), "this picture at 176x96, and knows"),
        ("clip.mp4", (90, 160), "this clip at 176x96, and knows"),
        ("clip.mp4", (128, 128), None),
        ("clip.mp4", (64, 64), None),
    ],
)
def test_what_is_no_clip_of_the_drawn_world_is_told_of_real_footage(editor, tmp_path, name, size, told):
    picture = np.full((1, *size, 3), 120, np.uint8)
    if name.endswith("mp4"):
        with Writer(tmp_path / name, size, 8) as writer:
            writer.write(picture)
    else:
        Image.fromarray(picture[0]).save(tmp_path / name)
    session = Session(editor.backbone.device)
    settings = compose({**FOX, "clip": str(tmp_path / name), "backbone": "pocket"})
    prepare(settings, editor.backbone, open_clip(settings), session)
    of_footage = [text for text in session.notices if "real footage" in text]
    assert [told in text for text in of_footage] == ([] if told is None else [True])


def test_a_clip_from_text_alone_needs_every_word_learned(editor, tmp_path):
    """Nothing but the prompt says what to make: a word that means nothing to the model is refused, as an edit's is."""
    for prompt in ("a wolf moves right over green grass", "a cheerful fox moves right over green grass"):
        with pytest.raises(flowedit.InputError, match=r"pocket does not know '(wolf|cheerful)': it knows fox, "):
            flowedit.generate(prompt, out=tmp_path / "out", **{"runtime.device": "cpu"})
    assert not (tmp_path / "out").exists()
    made = flowedit.generate("the fox moves right over green grass", steps=2, out=tmp_path / "out", frames=2)
    assert any("does not know 'the'" in text for text in made.run["notices"])
    assert any("2 frames: the model makes " in text for text in made.run["notices"])


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            "splitflow",
            "source words 'fox, grass' and target words 'panda' are not used (--mask attention reads them)",
        ),
        ("flowopt", "source words 'fox, grass' and target words 'panda' are not used (mode=flowopt takes no mask)"),
    ],
)
def test_words_that_no_mask_is_made_of_are_named(mode, said):
    from flowedit.config.compose import compose
    from flowedit.pipeline.notices.where import of_region
    from flowedit.pipeline.plan import brief

    words = {"source_words": "fox, grass", "target_words": "panda"}
    (heard,) = [text for text in of_region(brief(compose({**FOX, **words, "mode": mode}))) if "global edit" in text]
    assert heard.endswith(f"; {said}")
    assert not any("not used" in text for text in of_region(brief(compose({**FOX, "mode": mode}))))
