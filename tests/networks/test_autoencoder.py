"""Tiles over spans of frames: the pixels of diffusers' own tiles, whatever the span, and one cache at a time."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

from flowedit.backbones import families
from flowedit.networks import autoencoder

SMALL = {"sample_height": 96, "sample_width": 80}
"""Tiles of 48 x 40 pixels, which join: 40 x 32 apart, and 5 x 4 of 6 x 5 latents kept."""


@pytest.fixture(params=["2b", "wan"])
def tiled(request, tmp_path):
    """A backbone with small tiles, and diffusers' autoencoder with the same."""
    source = request.getfixturevalue(f"backbone_{request.param}")
    folder = shutil.copytree(source, tmp_path / "copy")
    if request.param == "2b":
        path = folder / "vae" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | SMALL))
    backbone = families.load(folder, device="cpu", tiling=True)
    cls = {"2b": AutoencoderKLCogVideoX, "wan": AutoencoderKLWan}[request.param]
    theirs = cls.from_pretrained(folder / "vae")
    theirs.enable_tiling()
    if request.param == "wan":
        for vae in (backbone.components.vae, theirs):
            vae.tile_sample_min_height, vae.tile_sample_min_width = 48, 40
            vae.tile_sample_stride_height, vae.tile_sample_stride_width = 40, 32
    return backbone, theirs


def clip(frames, height=104, width=72):
    """Three rows and three columns of tiles, the last of each cut short."""
    return np.random.default_rng(0).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)


def test_every_span_gives_the_pixels_of_diffusers_tiles(tiled, monkeypatch):
    backbone, theirs = tiled
    step = backbone.architecture.frame_step
    frames = clip(1 + 3 * step)
    vae, unscaled = backbone.components.vae, backbone.architecture.unscaled
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        want = backbone.architecture.scaled(theirs.encode(pixels).latent_dist.mode())
        shown = theirs.decode(unscaled(want)).sample[0].permute(1, 2, 3, 0)
    seen = []
    for span in (24, 2, 1):
        monkeypatch.setattr(autoencoder, "SPAN", span)
        counted = []
        z = backbone.encode(frames, counted.append)
        decoded = list(backbone.decode(want))
        assert sum(counted) == len(frames)
        assert all(part.flags.c_contiguous for part in decoded)
        assert [len(part) for part in decoded][1:] == [step] * (len(decoded) - 1)
        seen.append((z, np.concatenate(decoded)))
    stream = backbone.architecture.encoder(vae, len(frames), frames.shape[1:3])
    assert len(stream.chunks) > 2
    assert [len(each) for each in autoencoder._starts(stream.tiles, frames.shape[1:3])] == [3, 3]
    assert torch.equal(seen[0][0], want)
    assert np.abs(seen[0][1].astype(int) - ((shown + 1) * 127.5).round().clamp(0, 255).numpy()).max() <= 1
    for z, decoded in seen[1:]:
        assert torch.equal(z, seen[0][0])
        assert np.array_equal(decoded, seen[0][1])


def test_only_the_cache_of_the_tile_at_work_is_on_the_device(tiled, monkeypatch):
    """A tile's cache goes to the host where another span follows, and comes back with its tile."""
    backbone, _ = tiled
    frames = clip(1 + 2 * backbone.architecture.frame_step)
    moves = []
    moved = autoencoder._moved

    def spy(cache, device):
        if isinstance(cache, (dict, list)) and not any(cache is each for each, _ in moves):
            moves.append((cache, device))
        return moved(cache, device)

    backbone.device = torch.device("cpu", 0)  # a device of another name than the host's
    monkeypatch.setattr(autoencoder, "_moved", spy)
    monkeypatch.setattr(autoencoder, "SPAN", 24)
    backbone.encode(frames)
    assert moves == []  # one span: no cache is wanted again
    monkeypatch.setattr(autoencoder, "SPAN", 1)
    stream = backbone.architecture.encoder(backbone.components.vae, len(frames), frames.shape[1:3])
    backbone.encode(frames)
    outermost = [device for cache, device in moves]
    assert outermost.count(autoencoder.HOST) >= 9 * (len(stream.chunks) - 1)
    assert outermost.count(backbone.device) >= 9 * (len(stream.chunks) - 1)


def test_what_a_coder_keeps_moves_whole():
    x = torch.ones(1)
    cache = {"a": {"b": x}, "c": [None, "Rep", (x,)]}
    out = autoencoder._moved(cache, torch.device("meta"))
    assert out["a"]["b"].device.type == out["c"][2][0].device.type == "meta"
    assert out["c"][:2] == [None, "Rep"]
    assert x.device.type == "cpu"
