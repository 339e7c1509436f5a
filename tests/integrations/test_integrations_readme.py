"""The lines that integrations/README.md shows are run as they stand."""

import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

ROOT = Path(__file__).resolve().parents[2]


def test_the_lines_of_the_readme_run(tmp_path, monkeypatch):
    text = (ROOT / "flowedit" / "integrations" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for name in ("flowedit", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in blocks:
        exec(block, known)
    assert type(known["edit"]).__name__ == "CogVideoXFlowEditPipeline"
    made = np.stack([np.asarray(frame) for frame in known["frames"]])
    source = np.stack([np.asarray(frame) for frame in known["video"]])
    inside = known["result"].mask > 0.5
    assert 0.02 < inside.mean() < 0.5
    moved = np.abs(made.astype(int) - source).mean(-1)
    assert moved[inside].mean() > 20 > moved[~inside].mean()
    assert len(list(ImageSequence.Iterator(Image.open("panda.gif")))) == len(made)
