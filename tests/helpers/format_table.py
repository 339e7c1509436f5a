"""What each codec makes of clips at its usual quality, 24 frames of each: flowedit/media/README.md.

`python tests/helpers/format_table.py CLIP ...`
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from flowedit.media.formats.forms import FileForm
from flowedit.media.probe import probe
from flowedit.media.reader import read
from flowedit.media.writer import Writer

FORMS = {
    "h264": FileForm(),
    "h264, 10 bits": FileForm(depth=10),
    "h265": FileForm(codec="h265"),
    "h265, 10 bits": FileForm(codec="h265", depth=10),
    "av1": FileForm(codec="av1"),
    "av1, 10 bits": FileForm(codec="av1", depth=10),
    "vp9": FileForm("webm", "vp9"),
    "prores": FileForm("prores", "prores", 10),
}


def main(clips: list[str]) -> None:
    """Print a table of means over the clips."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in FORMS}
    with TemporaryDirectory() as folder:
        for clip in clips:
            video = probe(clip)
            frames = next(read(video, range(min(24, video.frames)), 24))
            for name, form in FORMS.items():
                path, begin = Path(folder) / f"a{form.container.suffix}", time.perf_counter()
                with Writer(path, video.size, video.fps, colour=video.colour, form=form) as writer:
                    writer.write(frames)
                seconds = time.perf_counter() - begin
                back = next(read(probe(path), range(len(frames)), 24))
                psnr = 10 * np.log10(255**2 / np.mean((back.astype(float) - frames) ** 2))
                found[name].append((psnr, path.stat().st_size / len(frames) / 1000, 1000 * seconds / len(frames)))
    print("| codec | PSNR | kB a frame | ms a frame |\n|---|---|---|---|")
    for name, rows in found.items():
        psnr, size, spent = np.mean(rows, axis=0)
        print(f"| {name} | {psnr:.1f} dB | {size:.0f} | {spent:.0f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
