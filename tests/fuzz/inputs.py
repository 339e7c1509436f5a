"""The good inputs that cases are made of: small clips in many containers, masks, checkpoints, prompts."""

import os
from fractions import Fraction
from pathlib import Path

FRAMES, SIDE = 5, 32

PROMPTS = {
    "source": "a fox moves right over green grass", "target": "a panda moves right over green grass",
    "source_words": "fox", "target_words": "panda",
}  # fmt: skip

CONTAINERS = {
    "c.mp4": "libx264", "m.mov": "mpeg4", "k.mkv": "libx264", "w.webm": "libvpx", "a.avi": "mpeg4", "t.ts": "libx264",
    "g.gif": "gif", "f.mp4": "libx264", "p.mpg": "mpeg2video", "wide.mp4": "libx264", "high.mkv": "mpeg4",
}  # fmt: skip
"""Files and their codecs; f.mp4 is fragmented."""

STILLS = ("s.png", "s.jpg", "s.webp", "s.bmp")

SIZES = {"wide.mp4": (2, 4096), "high.mkv": (2048, 2)}
"""(height, width) of those that are no square."""


def prepare(folder: Path) -> None:
    """Write all inputs into a folder; in a child process, as encoders start threads."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _write(folder)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0, "the inputs cannot be made"


def _write(folder: Path) -> None:
    import cv2
    import numpy as np

    from flowedit.backbones.random_weights import save_random

    for name, codec in CONTAINERS.items():
        _film(folder / name, codec)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[8:24, 8:24] = 255
    for name in STILLS:
        cv2.imwrite(str(folder / name), np.stack([mask] * 3, -1))
    for name in ("mask.png", "mask.jpg", "mask.bmp", "mask.tiff", "mask.webp"):
        cv2.imwrite(str(folder / name), mask)
    frames = folder / "frames"
    frames.mkdir()
    for index in range(FRAMES):
        cv2.imwrite(str(frames / f"{index}.png"), mask)
    save_random(folder / "tiny", "2b", sample=(4, 4))
    save_random(folder / "tiny5", "5b", sample=(4, 4))
    save_random(folder / "wan", "wan", sample=(4, 4))


def _film(path: Path, codec: str) -> None:
    import av
    import numpy as np

    options = {"movflags": "frag_keyframe+empty_moov"} if path.name == "f.mp4" else {}
    rate = 25 if codec == "mpeg2video" else 10
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream(codec, rate=rate)
        height, width = SIZES.get(path.name, (SIDE, SIDE))
        video.width, video.height = width, height
        video.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=44100, layout="mono") if path.suffix in (".mp4", ".mov") else None
        for index in range(FRAMES):
            picture = np.full((height, width, 3), 60, np.uint8)
            picture[:, ::8] = (30, 120, 90)
            picture[8:20, 2 * index : 2 * index + 10] = (220, 40, 40)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 44100, 0, Fraction(1, 44100)
            container.mux(audio.encode(tone))
            container.mux(audio.encode(None))
