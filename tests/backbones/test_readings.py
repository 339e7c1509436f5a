"""How each family reads a prompt: what it says of padding, of masks and of what is given, held to what is embedded."""

from dataclasses import replace

import pytest
import torch
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

from flowedit.backbones import families
from flowedit.backbones import text as texts
from flowedit.backbones.sheets import hunyuan

FOX = "a red fox"
KINDS = ["2b", "wan", "anyflow", "ltx", "hunyuan", "mochi", "flux", "sdxl", "modelscope"]


@pytest.fixture
def text(request):
    return families.load(request.getfixturevalue(f"backbone_{request.param}"), device="cpu").text


@pytest.mark.parametrize("text", KINDS, indirect=True)
def test_what_is_said_of_padding_is_what_the_network_is_given(text):
    made = text.embed(FOX)
    own, length = len(made.spans), text.reading.length
    masks = [each[0] for each in made.extras if each.dtype is torch.bool]
    padding = made.embedding[0, own:]
    assert padding.shape[0] == length - own
    if masks:
        assert masks[0].tolist() == [True] * own + [False] * (length - own)
        said = "hidden"
    else:
        said = "read" if padding.any() else "zeros"
    assert text.reading.padding == said


@pytest.mark.parametrize("text", KINDS, indirect=True)
def test_an_encoder_with_a_mask_does_not_see_padding(text):
    """Its padding is of other tokens once: the prompt's states move only where they see it (or are before it)."""
    reading, encoder = text.reading, text._encoder(text.reading.folder)
    tokens = text._tokens(reading, FOX)
    own, ids, mask = len(text.spans(FOX)), tokens.input_ids, tokens.attention_mask
    other = ids.clone()
    other[0, reading.skipped + own :] = ids[0, reading.skipped]
    with torch.no_grad():
        before, after = (reading.output(encoder, each, mask)[0][0, :own] for each in (ids, other))
    causal = "CLIP" in reading.encoder.__name__  # what is behind a token is not seen without a mask either
    assert torch.allclose(before, after, atol=1e-6) == (reading.with_mask or causal)


@pytest.mark.parametrize("text", KINDS, indirect=True)
def test_the_output_of_the_layers_is_what_the_network_is_given(text):
    """SDXL's first encoder gives the state before its last layer, and HunyuanVideo's the one two layers before."""
    found, made = text.layers(FOX, lambda x: x.clone()), text.embed(FOX).embedding[0]
    width = found["output"].shape[1]
    assert torch.allclose(found["output"], made[:, :width], atol=1e-6)
    own = len(text.spans(FOX))
    names = [name for name in found if name not in ("embedding", "output")]
    given = [name for name in names if torch.allclose(found[name][:own], found["output"][:own], atol=1e-5)]
    kind = text.reading.encoder.__name__
    left = {"LlamaModel": 2, "CLIPTextModel": 1 if width < made.shape[1] else None}.get(kind)
    assert given == ([] if left is None else [names[-1 - left]])  # the others end in a norm


def renamed(network, ids, mask):
    return texts.states(network, ids, mask)


@pytest.mark.parametrize(
    "other",
    [
        {"template": "a film of {}"}, {"skipped": 3}, {"cleaned": True}, {"length": 64},
        {"blank": True}, {"output": renamed}, {"join": lambda outputs: outputs[0]},
    ],
    ids=lambda other: "+".join(other),
)  # fmt: skip
def test_an_embedding_is_cached_by_all_that_makes_it(backbone_2b, monkeypatch, other):
    text = families.load(backbone_2b, device="cpu").text
    key = text._key("")
    assert key == text._key("")
    assert key != text._key(" ")
    monkeypatch.setattr(text, "_reading", replace(text.reading, **other))
    assert text._key("") != key


def test_an_embedding_of_another_version_is_not_read(backbone_2b, monkeypatch):
    text = families.load(backbone_2b, device="cpu").text
    key = text._key(FOX)
    monkeypatch.setattr(texts, "READ_AS", "another")
    assert text._key(FOX) != key


def test_functions_of_one_name_are_told_apart(backbone_2b, monkeypatch):
    text = families.load(backbone_2b, device="cpu").text
    key = text._key(FOX)

    def states(network, ids, mask):
        return ()

    monkeypatch.setattr(text, "_reading", replace(text.reading, output=states))
    assert text._key(FOX) != key


def test_hunyuanvideo_s_template_is_that_of_its_pipeline():
    assert DEFAULT_PROMPT_TEMPLATE == {"template": hunyuan.TEMPLATE, "crop_start": hunyuan.SKIPPED}
