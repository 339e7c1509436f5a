"""What a bench shows: the picture of its scenes, and which class became which."""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from flowedit.evaluation.bench.scene import Verdict
from flowedit.evaluation.results.rows import Row, values
from flowedit.evaluation.results.summary import CEILING, FLOOR
from flowedit.evaluation.results.tables import LINE


def confusion(verdicts: Sequence[Verdict], method: str) -> Table | None:
    """Rows: what an object should have become; columns: what it is nearest to. None where no class was edited."""
    pairs = Counter((f.right, f.nearest) for f in verdicts if f.method == method and f.kind.startswith("replace"))
    if not pairs:
        return None
    names = sorted({name for pair in pairs for name in pair})
    title = f"{method}, each replaced object: it should have become (rows), and is nearest to (columns)"
    table = Table(title=title, box=box.SIMPLE, title_justify="left", min_width=LINE)
    for name in ("", *names):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for right in names:
        table.add_row(right, *(str(pairs[right, near] or "·") for near in names))
    return table


def agreement(rows: Sequence[Row], methods: Sequence[str]) -> Text | None:
    """How the target preference agrees with the truth: the order of the references, and the correlation over edits."""
    name, truth = "target_preference", "object_accuracy"
    low, high = (values(rows, reference, name) for reference in (FLOOR, CEILING))
    both = [key for key in low if key in high]
    pairs = [
        (value, right[key])
        for method in methods
        for right in [values(rows, method, truth)]
        for key, value in values(rows, method, name).items()
        if key in right
    ]
    if not both:
        return None
    text = f"target preference: the true edit is above the clip left alone in {sum(high[k] > low[k] for k in both)} "
    text += f"of {len(both)} scenes"
    preferred, right = np.array(pairs).reshape(-1, 2).T
    if len(pairs) > 2 and preferred.std() and right.std():
        text += f"; correlation with object accuracy {np.corrcoef(preferred, right)[0, 1]:.2f} over {len(pairs)} edits"
    return Text(f"{text}\n")


SIDE, TITLE, GAP, MARGIN = 192, 22, 4, 12

ORDER = ("source", "random_noise", "inversion", "inversion_free")
"""The columns that come first, in this order, if they are there."""

LAST = "truth"

BLANK = np.full((1, SIDE, SIDE, 3), 255, np.uint8)

FONT = cv2.FONT_HERSHEY_SIMPLEX


def examples(pictures: Sequence[tuple[str, dict[str, np.ndarray]]]) -> np.ndarray:
    """(title, clips by column) → one RGB picture: a row a scene, its title above it, first and last frame of each.

    A clip that a scene lacks is left blank.
    """
    made = [*dict.fromkeys(name for _, clips in pictures for name in clips if name != LAST), LAST]
    names = [name for name in ORDER if name in made] + [name for name in made if name not in ORDER]
    cell = 2 * SIDE + GAP + MARGIN
    rows = [np.hstack([_line(name, cell) for name in names])]
    for title, clips in pictures:
        rows += [_line(title, cell * len(names)), np.hstack([_ends(clips.get(name, BLANK)) for name in names])]
    return np.vstack(rows)


def _ends(clip: np.ndarray) -> np.ndarray:
    first, last = (cv2.resize(clip[i], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for i in (0, -1))
    gap, margin = (np.full((SIDE, width, 3), 255, np.uint8) for width in (GAP, MARGIN))
    return np.hstack([first, gap, last, margin])


def _line(text: str, width: int) -> np.ndarray:
    line, scale = np.full((TITLE, width, 3), 255, np.uint8), 0.5
    scale = min(scale, scale * (width - MARGIN) / cv2.getTextSize(text, FONT, scale, 1)[0][0])
    cv2.putText(line, text, (2, TITLE - 7), FONT, scale, (20, 20, 20), 1, cv2.LINE_AA)
    return line
