"""What tests of a small checkpoint share: it opened, noise of its shape, its words changed, its maps in full."""

import json
import shutil

import torch
from einops import rearrange

from flowedit.backbones import families
from flowedit.networks import recorder

FOX = "A red fox is lying down."

OBJECTS = ([1], [2, 3])
"""Tokens of FOX whose maps are recorded."""


def load(folder, **options):
    return families.load(folder, **({"device": "cpu"} | options))


def noise(backbone, frames, size, rows=1):
    shape = (rows, *backbone.geometry(frames, size).latent)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def changed(folder, tmp_path, name, **values):
    """A copy of a checkpoint in which a JSON file has other values."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


def recorded(backbone, z, negative, normalise, monkeypatch):
    """The maps of OBJECTS, of two blocks, as they are recorded; and the (q, k, mask) that their attention was given."""
    calls, original = [], recorder.with_lse
    prompt, other = backbone.embed(FOX), backbone.embed(negative)

    def spy(q, k, v, scale, mask):
        calls.append((q.clone(), k.clone(), mask.clone()))
        return original(q, k, v, scale, mask)

    monkeypatch.setattr(recorder, "with_lse", spy)
    with backbone.record({prompt: [list(each) for each in OBJECTS]}, [0.0, 0.7], normalise) as maps:
        backbone.velocity(prompt, 3.0, other)(z, 0.6)
        got = maps.take(prompt)
    assert len(calls) == 2
    return got, calls, len(prompt.spans)


def behind_the_video(calls, video, own, normalise):
    """Maps (B, K, F, h, w) of calls whose keys are `video` of (F, h, w), then text, `own` of it the prompt's; float64.

    softmax(q k / sqrt(d)) over what the mask lets through, or over the prompt's tokens alone for "text"; the mean over
    heads, an object's tokens, and blocks.
    """
    frames, height, width = video
    sites, want = frames * height * width, []
    for q, k, mask in calls:
        q, k, mask = q[-2:, :, :sites].double(), k[-2:].double(), mask[-2:]
        logits = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
        first = sites if normalise == "joint" else 0
        weights = (logits if normalise == "joint" else logits[..., sites : sites + own]).softmax(-1)
        columns = [weights[..., [first + i for i in each]].mean((1, 3)) for each in OBJECTS]
        want.append(torch.stack(columns, 1))
    return rearrange(torch.stack(want).mean(0), "b k (f h w) -> b k f h w", f=frames, h=height)
