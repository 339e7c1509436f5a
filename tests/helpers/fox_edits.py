"""The fox's edits that tests of evaluations share, and what every edit costs."""

import shutil
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOX = ROOT / "examples" / "fox.mp4"
FEW = ["steps=2", "strength=1", "runtime.dtype=bfloat16", "runtime.device=cpu"]
ROW = {
    "clip": "fox.mp4",
    "source": "a fox moves right over green grass",
    "target": "a panda moves right over green grass",
    "source_words": "fox",
    "target_words": "panda",
}
PROMPTS = [
    part
    for key in ("source", "target", "source_words", "target_words")
    for part in (f"--{key.replace('_', '-')}", ROW[key])
]
COSTS = {"network_evaluations", "token_evaluations", "seconds", "peak_memory_mib"}


def dataset(folder, *extra):
    """A list of edits of the fox beside it: the whole row, and each of `extra` laid over it."""
    folder.mkdir(exist_ok=True)
    shutil.copy(FOX, folder / "fox.mp4")
    shutil.copy(ROOT / "examples" / "fox_mask.mp4", folder / "mask.mp4")
    made = [{**ROW, "score_mask": "mask.mp4"}, *({**ROW, "edit": f"e{i}", **row} for i, row in enumerate(extra))]
    (folder / "edits.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    return folder / "edits.yaml"
