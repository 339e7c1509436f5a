"""Whether a video counts as transparent: every kind of alpha, even and odd sides, and how few frames are looked at."""

from fractions import Fraction

import av
import numpy as np
import pytest

from flowedit.media.formats.forms import FileOptions
from flowedit.media.formats.resolve import of_file
from flowedit.media.planes import alpha
from flowedit.media.probe import probe
from flowedit.media.reader import read, read_planar
from flowedit.media.timing import Packet
from flowedit.metrics.pixels import psnr

TAGGED = {"metadata": {"alpha_mode": "1"}, "auto-alt-ref": "0"}
KINDS = [
    ("a.mov", "qtrle", "argb", {}),
    ("a.mov", "png", "rgba", {}),
    ("a.mov", "prores_ks", "yuva444p10le", {}),
    ("a.webm", "libvpx-vp9", "yuva420p", TAGGED),
    ("a.webm", "libvpx", "yuva420p", TAGGED),
    ("a.mkv", "ffv1", "yuva444p", {}),
    ("a.mkv", "ffv1", "yuva420p16le", {}),
]


def scene(count, size=(64, 96)):
    """A disc that moves over a gradient, RGBA uint8 (F, H, W, 4); opaque."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    frames = np.full((count, *size, 4), 255, np.uint8)
    for i, frame in enumerate(frames):
        frame[..., 0], frame[..., 1], frame[..., 2] = 40 + columns % 200, 60 + rows, 90
        frame[(rows - 40) ** 2 + (columns - 30 - 4 * i) ** 2 < 400, :3] = (210, 80, 50)
    return frames


def make(path, frames, codec, pixels, **options):
    """A video of these frames, 12 a second, by PyAV."""
    metadata = options.pop("metadata", {})
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=12, options={"crf": "8", **options})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        stream.metadata.update(metadata)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba").reformat(format=pixels)
            picture.pts, picture.time_base = number, Fraction(1, 12)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def looked_at(path, monkeypatch):
    """What `probe` finds of alpha, and how many frames it decodes for it."""
    asked = []
    monkeypatch.setattr(alpha, "_clear", lambda frame, own=alpha._clear: asked.append(frame.pts) or own(frame))
    return probe(path), len(asked)


@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
@pytest.mark.parametrize(("name", "codec", "pixels", "options"), KINDS, ids=[f"{k[1]}-{k[2]}" for k in KINDS])
@pytest.mark.parametrize("hole", [None, 0, 4])
def test_a_hole_in_any_frame_of_a_short_clip_is_seen(tmp_path, name, codec, pixels, options, hole, size):
    frames = scene(5, size)
    if hole is not None:
        frames[hole, 10:40, 10:40, 3] = 0
    video = probe(make(tmp_path / name, frames, codec, pixels, **options))
    assert (video.frames, video.alpha, video.size) == (5, hole is not None, size)
    if hole is None:
        assert not any("transparent" in notice for notice in of_file(FileOptions(), video))
        assert psnr(np.concatenate(list(read(video, range(5)))), frames[..., :3]) > 28
        return
    file = "edit.webm" if name == "a.webm" else "edit.mov"
    assert sum(f"transparent in places: {file} keeps that" in text for text in of_file(FileOptions(), video)) == 1
    for place, (stored, seen) in enumerate(read_planar(video, range(5))):
        clear = np.zeros(size, bool)
        clear[10:40, 10:40] = place == hole
        assert ((stored.alpha == 0) == clear)[12:38, 12:38].all()
        assert (stored.alpha[:8] * 255.0 >= 250 * (2**stored.bits - 1)).all()
        assert (seen[12:38, 12:38] == 255).all() == (place == hole)
        assert psnr(seen[None, 48:], frames[place : place + 1, 48:, :, :3]) > 25


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options", "most"),
    [
        ("a.mov", "prores_ks", "yuva444p10le", {}, alpha.LOOKED),
        ("a.mov", "qtrle", "argb", {}, 100),  # its key frames lie 12 apart
        ("a.webm", "libvpx-vp9", "yuva420p", {**TAGGED, "g": "50"}, 100),
        ("a.webm", "libvpx-vp9", "yuva420p", {**TAGGED, "g": "999", "cpu-used": "8"}, alpha.LOOKED * alpha.RUN),
    ],
)
def test_few_frames_of_a_long_clip_are_looked_at(tmp_path, monkeypatch, name, codec, pixels, options, most):
    frames = scene(100, (32, 48))
    video, count = looked_at(make(tmp_path / name, frames, codec, pixels, **options), monkeypatch)
    assert (video.frames, video.alpha) == (100, False)
    assert 0 < count <= most


def test_what_shows_through_at_the_end_alone_is_seen(tmp_path):
    frames = scene(100, (32, 48))
    frames[-1, 4:20, 4:20, 3] = 0
    for name, codec, pixels, options in (KINDS[2], (*KINDS[3][:3], {**TAGGED, "g": "30"})):
        assert probe(make(tmp_path / name, frames, codec, pixels, **options)).alpha


def test_what_is_missed_counts_as_opaque(tmp_path):
    """As the docstring says: its alpha is left out, and its colours are those of the file."""
    frames = scene(100, (32, 48))
    frames[3, 4:20, 4:20, 3] = 0
    video = probe(make(tmp_path / "a.mov", frames, "png", "rgba"))
    assert not video.alpha
    (third,) = read(video, [3])
    assert (third[0] == frames[3, ..., :3]).all()


def test_a_file_that_cannot_be_sought_in_is_looked_at_from_its_beginning(tmp_path, monkeypatch):
    frames = scene(60, (32, 48))
    frames[20, 4:20, 4:20, 3] = 0
    path = make(tmp_path / "a.mov", frames, "prores_ks", "yuva444p10le")

    class Fixed:
        """A file without seeks."""

        def __init__(self, container):
            self.streams, self.demux = container.streams, container.demux

        def seek(self, *place, **of):
            raise av.error.FFmpegError(1, "no seek")

    with av.open(str(path)) as container:
        packets = [Packet(packet.pts, packet.dts, True) for packet in container.demux(video=0) if packet.size]
        container.seek(0)
        found = list(alpha._looked(Fixed(container), packets, None))
    assert any(map(alpha._clear, found))
