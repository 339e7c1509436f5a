"""Frames that are read when they are asked for: the same as if all were held, and never more than a few at once."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from conftest import write_clip
from fields import ToyBackbone

import flowedit
from flowedit.config import compose
from flowedit.masks import grids
from flowedit.media import fit, mask_file, reader, writer
from flowedit.media.frames import LazyFrames, by_chunks
from flowedit.pipeline import region, source
from flowedit.pipeline.plan import brief, make_plan
from flowedit.pipeline.source import loses_margins, open_clip, working_frames, working_mask
from flowedit.pocket import scene
from flowedit.types import BackboneSpec, Geometry

FRAMES = np.random.default_rng(0).integers(0, 256, (23, 4, 6, 3), np.uint8)


class Counted:
    """A file of FRAMES: opens a stream at a place, and counts."""

    def __init__(self, chunk):
        self.chunk, self.opened, self.read = chunk, [], 0

    def __call__(self, start):
        self.opened.append(start)
        for i in range(start, len(FRAMES), self.chunk):
            part = FRAMES[i : i + self.chunk]
            self.read += len(part)
            yield part


@pytest.mark.parametrize("chunk", [1, 4, 5, 100])
@pytest.mark.parametrize("size", [1, 3, 8, 23])
def test_ascending_slices_read_each_frame_once(chunk, size):
    file = Counted(chunk)
    lazy = LazyFrames(FRAMES.shape, file)
    assert (len(lazy), lazy.shape) == (23, FRAMES.shape)
    np.testing.assert_array_equal(np.concatenate(list(by_chunks(lazy, size))), FRAMES)
    assert (file.opened, file.read) == ([0], 23)


def test_any_slice_is_an_array_s():
    file = Counted(4)
    lazy = LazyFrames(FRAMES.shape, file)
    for part in (slice(3, 9), slice(9, 10), slice(2, 4), slice(20, 99), slice(None, 5), slice(7, 7), slice(None)):
        np.testing.assert_array_equal(lazy[part], FRAMES[part])
    assert file.opened == [3, 2, 20, 0, 0]
    with pytest.raises(ValueError, match="steps of 2"):
        lazy[::2]


def test_a_frame_that_cannot_be_read_is_told():
    def opened(start):
        yield FRAMES[:2]
        raise ValueError("frame 2 is damaged")

    with pytest.raises(ValueError, match="frame 2 is damaged"):
        LazyFrames(FRAMES.shape, opened)[0:5]


def plan(backbone, path, **options):
    """The clip, and its one shot."""
    settings = compose.compose({"source": "a", "target": "b", "clip": str(path), **options})
    clip = open_clip(settings)
    return clip, make_plan(brief(settings), backbone, clip, ()).shots[0]


@pytest.fixture(scope="module")
def editor(backbone_2b):
    return flowedit.load(backbone_2b, **{"runtime.device": "cpu", "steps": 1, "strength": 0, "size": "32x32"})


def test_working_frames_are_those_of_the_file_padded_with_the_last(editor, clip_file):
    clip, shot = plan(editor.backbone, clip_file, size="48x32")
    frames = working_frames(clip, shot)
    original = np.concatenate(list(clip.read(shot.selection.indices)))
    expected = fit.to_working(original, shot.fit)
    assert frames.shape == (17, 32, 48, 3)
    np.testing.assert_array_equal(frames[:12], expected)
    np.testing.assert_array_equal(frames[10:17], expected[[10, 11, 11, 11, 11, 11, 11]])
    np.testing.assert_array_equal(frames[14:15], expected[-1:])


@pytest.mark.parametrize("kind", ["video", "folder", "image"])
def test_a_user_s_mask_by_chunks_is_that_of_the_whole(editor, clip_file, tmp_path, kind):
    pictures = np.zeros((12, 64, 96), np.uint8)
    for i in range(12):
        pictures[i, 10:40, 5 * i : 5 * i + 30] = 255 if i % 3 else 130
    path = tmp_path / {"video": "m.mp4", "folder": "m", "image": "m.png"}[kind]
    if kind == "video":
        with writer.Writer(path, (64, 96), Fraction(10), crf=0) as out:
            out.write(np.repeat(pictures[..., None], 3, -1))
    elif kind == "folder":
        path.mkdir()
        for i, picture in enumerate(pictures):
            cv2.imwrite(str(path / f"{i}.png"), picture)
    else:
        cv2.imwrite(str(path), pictures[1])
        pictures[:] = pictures[1]
    clip, shot = plan(editor.backbone, clip_file, size="48x32")
    held, _ = mask_file.read_mask(path, clip.video, shot.selection.indices)
    assert (held.shape, held[0:1].dtype) == (pictures.shape, np.uint8)
    assert np.abs(held[:].astype(int) - pictures).mean() < (2 if kind == "video" else 1e-9)
    working = working_mask(shot, held)
    assert working.shape == (17, 32, 48)
    whole = working[:]
    np.testing.assert_array_equal(whole[12:], whole[[11] * 5])
    np.testing.assert_array_equal(working[14:17], whole[[11] * 3])
    latent = region.user_latent(working, editor.backbone.spec, shot.geometry)
    assert torch.equal(latent, grids.to_latent(torch.from_numpy(whole), 4, (4, 6)))
    assert not loses_margins(shot, held)


def test_leading_latents_of_a_mask_are_the_first(backbone_15):
    backbone = flowedit.load(backbone_15, **{"runtime.device": "cpu"}).backbone
    mask = np.random.default_rng(0).random((9, 32, 32)).astype(np.float32)
    latent = region.user_latent(mask, backbone.spec, Geometry(9, 9, (32, 32), (4, 4, 4, 4)))
    assert latent.shape == (1, 1, 4, 4, 4)
    assert torch.equal(latent[:, :, 0], latent[:, :, 1])
    assert torch.equal(latent[:, :, 1:], grids.to_latent(torch.from_numpy(mask), 4, (4, 4)))


def test_a_long_edit_never_holds_more_than_a_few_frames(editor, tmp_path, monkeypatch):
    """With a mask of its own, through every phase: what a slice is at most, and what a stream reads at once."""
    clip = write_clip(tmp_path / "long.mp4", frames=90)
    with writer.Writer(tmp_path / "mask.mp4", (64, 96), Fraction(10)) as out:
        for frame in scene(3, (64, 96), 90).frames:
            out.write(frame[None])
    most, read = [], []
    taken, plain = LazyFrames.__getitem__, reader.read

    def counted(self, part):
        most.append(len(found := taken(self, part)))
        return found

    def chunks(*args, **kwargs):
        for frames in plain(*args, **kwargs):
            read.append(len(frames))
            yield frames

    monkeypatch.setattr(LazyFrames, "__getitem__", counted)
    monkeypatch.setattr(source, "read", chunks)
    monkeypatch.setattr(reader, "read", chunks)
    result = editor.edit(clip, source="a", target="b", out=tmp_path / "o", user_mask=tmp_path / "mask.mp4")
    assert result.run["clip"]["frames"] == 90
    assert min(sum(most), sum(read)) > 300
    assert max(most) <= 16
    assert max(read) <= 16


def test_encoding_takes_the_memory_of_a_chunk_whatever_the_length(tmp_path, monkeypatch):
    """Of 240 frames of 320x240, 55 MB in all, no more than a few are held, as the allocator of arrays counts them."""

    class Backbone:
        spec = BackboneSpec("one", (), True, 9, 8, (30, 40), 320 * 240, 16, 4)
        knots = ToyBackbone().knots

        def geometry(self, frames, size):
            return Geometry(frames, frames, size, (4, 1 + -(-(frames - 1) // 4), 1, 1))

    def chunks(info, indices, chunk):
        for i in range(0, len(indices), chunk):
            yield np.full((len(indices[i : i + chunk]), 480, 640, 3), i % 256, np.uint8)

    path = write_clip(tmp_path / "c.mp4", frames=240, size=(48, 64), sound=False)
    clip, shot = plan(Backbone(), path, size="320x240")
    large = replace(shot, fit=fit.lay((480, 640), (240, 320)))
    monkeypatch.setattr(source, "read", chunks)
    tracemalloc.start()
    try:
        assert sum(len(part) for part in by_chunks(working_frames(clip, large), 8)) == 240
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 1e6 < peak < 20e6
