"""Tables of times and sizes with absurd numbers, in picture and sound: refused in words or read, never a crash."""

import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from flowedit.media.probe import probe
from flowedit.media.timing import tables_agree
from flowedit.messages import InputError

COUNT = 12
NUMBERS = (0, 1, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
TABLES = (b"stts", b"ctts", b"stsz", b"stsc", b"stco", b"stss", b"mdhd", b"mvhd", b"elst")

READ = """
import sys
from pathlib import Path
from flowedit.media.probe import probe
from flowedit.media.reader import read, read_small
from flowedit.media.sound import Sound
from flowedit.media.writer import Writer
from flowedit.messages import FileError, InputError
for path in sorted(Path(sys.argv[1]).glob("*.mp4")):
    try:
        info = probe(path)
        sound = Sound(info, 0, info.frames / info.fps) if info.has_audio else None
        with Writer(path.with_suffix(".out"), info.size, info.fps, sound) as out:
            for frames in read(info, range(info.frames)):
                out.write(frames)
        assert info.frames <= 2 * int(sys.argv[2])
        print(path.name, "read", len(list(read_small(info, range(info.frames), 48))), flush=True)
    except (InputError, FileError) as error:
        print(path.name, "refused", str(error).count("\\n"), flush=True)
"""


def clip(path, fmt):
    """A file with picture (B frames) and sound."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "6", "bf": "2", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, fmt
        audio = out.add_stream("aac", rate=48000, layout="mono")
        for i in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * i, np.uint8), format="rgb24")
            frame = frame.reformat(format=fmt)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 1024 * i, Fraction(1, 48000)
            out.mux(audio.encode(frame))
        out.mux(stream.encode(None))
        out.mux(audio.encode(None))
    return path


def places(data, name):
    """Where the contents of every box of a name begin and end."""
    at = -1
    while (at := data.find(name, at + 1)) >= 0:
        (size,) = struct.unpack_from(">I", data, at - 4)
        yield at + 4, at - 4 + size


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv444p"])
def test_absurd_numbers_end_in_one_line_or_are_read(tmp_path, fmt):
    data = clip(tmp_path / "plain.mp4", fmt).read_bytes()
    count = 1
    for table in TABLES:
        for number, (begin, end) in enumerate(places(data, table)):
            for place in range(begin, min(end, begin + 24), 4):
                for value in NUMBERS[(place // 4) % 2 :: 2]:  # half of them, in turn
                    broken = bytearray(data)
                    struct.pack_into(">I", broken, place, value)
                    (tmp_path / f"{table.decode()}{number}-{place - begin}-{value}.mp4").write_bytes(broken)
                    count += 1
    command = [sys.executable, "-c", READ, tmp_path, str(COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == count
    assert [line for line in lines if line[1] == "refused" and line[2] != "0"] == []
    assert ["plain.mp4", "read", str(COUNT)] in lines
    assert sum(line[1] == "refused" for line in lines) > count / 8


def test_tables_agree_in_whole_files_only(tmp_path):
    data = clip(tmp_path / "a.mp4", "yuv444p").read_bytes()
    assert tables_agree(tmp_path / "a.mp4")
    for table, offset in ((b"stts", 8), (b"stts", 4), (b"stsz", 8), (b"ctts", 8)):
        for begin, _ in places(data, table):
            for value in (1 << 31, 1 << 28, 5):
                broken = bytearray(data)
                struct.pack_into(">I", broken, begin + offset, value)
                (tmp_path / "b.mp4").write_bytes(broken)
                assert not tables_agree(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    ("table", "track", "offset", "value", "words"),
    [
        (b"mdhd", 1, 12, 1 << 28, "by its clock a packet lasts"),
        (b"mdhd", 1, 12, 1, "by its clock a packet lasts"),
        (b"stts", 0, 12, 1 << 29, "a frame lasts"),
    ],
)
def test_broken_clocks_are_refused_by_name(tmp_path, table, track, offset, value, words):
    """The ticks a second of the sound, and the steps of the picture."""
    data = bytearray(clip(tmp_path / "a.mp4", "yuv420p").read_bytes())
    begin, _ = list(places(data, table))[track]
    struct.pack_into(">I", data, begin + offset, value)
    (tmp_path / "b.mp4").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        probe(tmp_path / "b.mp4")
    assert "\n" not in str(caught.value)
