"""CLIP as a reader of prompts, held to what diffusers' own pipelines make of it."""

import json
from pathlib import Path

import pytest
import torch

from flowedit.backbones.checkpoint import Checkpoint
from flowedit.backbones.encoders import clip as encoders
from flowedit.backbones.readings import clip
from flowedit.backbones.text import TextEncoder
from flowedit.language.words import token_indices
from flowedit.messages import InputError

PROMPT = "A red  fox and a panda, walking"


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {"text_encoder": encoders.random_text(), "text_encoder_2": encoders.random_projected(hidden_size=48)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of which nothing but its tokenizers is here, as released: vocab.json and merges.txt."""
    path = tmp_path_factory.mktemp("clip")
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    for name, padding in (("tokenizer", encoders.END), ("tokenizer_2", "!")):
        encoders.write_tokenizer(path / name, padding)
    for name, network in (("text_encoder", encoders.random_text()), ("text_encoder_2", encoders.random_projected())):
        network.config.save_pretrained(path / name)
    return path


def read(folder: Path, networks, reading, cache=None) -> TextEncoder:
    device = torch.device("cpu")
    return TextEncoder(Checkpoint(folder), reading, device, torch.float32, cache, networks.__getitem__)


def test_pieces_of_a_word_carry_its_characters_and_the_ends_none(folder, networks):
    text = read(folder, networks, clip.last())
    spans, pieces = text.spans(PROMPT), text.pieces(PROMPT)
    assert spans[0] == spans[-1] == (0, 0)
    assert (pieces[0], pieces[-1]) == (encoders.START, encoders.END)
    own = [(piece.removesuffix("</w>"), PROMPT[a:b].lower()) for piece, (a, b) in zip(pieces, spans, strict=True)]
    assert all(piece == covered.strip() for piece, covered in own[1:-1])
    assert pieces[1] == "a</w>"  # a whole word is one piece, and the start token is before it
    words = {word: [pieces[i] for i in token_indices(PROMPT, word, spans)] for word in ("fox", "panda", "walking")}
    assert words == {"fox": ["fox</w>"], "panda": ["p", "and", "a</w>"], "walking": ["w", "al", "k", "ing</w>"]}


def test_every_character_is_readable(folder, networks):
    assert read(folder, networks, clip.last()).unreadable("a fox 🦊 \u0416 <|endoftext|") == ()


def test_the_words_that_a_long_prompt_loses_are_named(folder, networks, caplog):
    text = read(folder, networks, clip.last())
    text.spans("fox " * 75)  # 75 words, a start token and a closing one
    with pytest.raises(InputError, match=r"has 78 tokens, .* reads 77: .* fall off: 'and'"):
        text.spans("fox " * 75 + "and")
    assert not caplog.records  # the library's own warning says less


def test_states_are_those_of_modelscopes_pipeline(folder, networks):
    from diffusers import TextToVideoSDPipeline

    pipeline = TextToVideoSDPipeline(
        vae=None, text_encoder=networks["text_encoder"], tokenizer=encoders.tokenizer(), unet=None, scheduler=None
    )
    expected, _ = pipeline.encode_prompt(PROMPT, torch.device("cpu"), 1, False)
    assert torch.equal(read(folder, networks, clip.last()).embed(PROMPT).embedding, expected)


@pytest.mark.parametrize("prompt", [PROMPT, ""])
def test_states_and_the_pooled_vector_are_those_of_sdxls_pipeline(folder, networks, prompt):
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(
        vae=None, text_encoder=networks["text_encoder"], text_encoder_2=networks["text_encoder_2"],
        tokenizer=encoders.tokenizer(), tokenizer_2=encoders.tokenizer("!"), unet=None, scheduler=None,
        add_watermarker=False,
    )  # fmt: skip
    expected, blank, pooled, blank_pooled = pipeline.encode_prompt(PROMPT, device=torch.device("cpu"))
    made = read(folder, networks, clip.both(blank=True)).embed(prompt)
    assert torch.equal(made.embedding, expected if prompt else blank)
    assert torch.equal(made.extras[0], pooled if prompt else blank_pooled)
    assert expected.shape == (1, 77, 80)
    assert expected.std() > 0.1
    assert not blank.any()
    _, typed, _, vector = pipeline.encode_prompt(PROMPT, negative_prompt="", device=torch.device("cpu"))
    known = read(folder, networks, clip.both(blank=False)).embed("")  # one that is typed is zeros here, and not there
    assert torch.equal(typed, known.embedding)
    assert torch.equal(vector, known.extras[0])
    assert typed.std() > 0.1


def test_the_empty_prompt_is_read_where_it_is_not_zeros(folder, networks, tmp_path):
    """And neither is taken for the other in the cache."""
    zeros = read(folder, networks, clip.both(blank=True), tmp_path).embed("").embedding
    assert read(folder, networks, clip.both(blank=False), tmp_path).embed("").embedding.abs().max() > 0.1
    assert torch.equal(read(folder, networks, clip.both(blank=True), tmp_path).embed("").embedding, zeros)


def test_the_pooled_vector_is_that_of_the_first_closing_token(folder, networks):
    text = read(folder, networks, clip.pooled())
    (vector,) = text._encode(text.reading, PROMPT)
    states = read(folder, networks, clip.last()).embed(PROMPT).embedding
    assert torch.equal(vector, states[:, len(text.spans(PROMPT)) - 1])
