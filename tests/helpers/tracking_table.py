"""How well boxes, points and painted strokes follow pocket objects: python tests/helpers/tracking_table.py [SCENES]."""

import sys
from collections import defaultdict

import cv2
import numpy as np

from flowedit.masks.marks import Mark
from flowedit.masks.painted import Stroke, followed, over
from flowedit.masks.tracking import ShotFlow, follow, looked_at
from flowedit.pocket import draw, scene

SIZE, FRAMES, STARTS = (128, 128), 25, (0, 12)


def overlap(one, other):
    return (one & other).sum() / max((one | other).sum(), 1)


def filled(box):
    mask = np.zeros(SIZE, bool)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = True
    return mask


def brushed(mask, frame, radius=4):
    """Strokes along the rows of a mask, within it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inner = cv2.erode(mask.astype(np.uint8), kernel)
    ys, xs = np.nonzero(inner if inner.any() else mask)
    ends = [(xs[ys == y].min(), xs[ys == y].max(), y) for y in np.unique(ys)]
    line = [[((x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0]) for x in (left, right)] for left, right, y in ends]
    return tuple(Stroke(frame, tuple(points), radius / SIZE[1]) for points in line)


def main(scenes):
    found = defaultdict(list)
    for seed in range(scenes):
        made = scene(draw(seed, things=1 + seed % 2), SIZE, FRAMES)
        pictures = [looked_at(frame) for frame in made.frames]
        for thing, masks in zip(made.spec.things, made.masks > 0.5, strict=True):
            boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]
            for start in STARTS:
                track = follow(Mark(tuple(map(float, boxes[start])), start, ""), pictures, 0, SIZE)
                values = [overlap(track.mask(k, SIZE) > 127, filled(boxes[k])) for k in range(FRAMES)]
                found["box", thing.motion].append(np.mean(values))
                paints, black = followed(brushed(masks[start], start), ShotFlow(pictures), 0), np.zeros(SIZE, np.uint8)
                values = [overlap(over(black, paints, k) > 127, masks[k]) for k in range(FRAMES)]
                found["painted", thing.motion].append(np.mean(values))
            ys, xs = np.nonzero(masks[12])
            middle = np.argmin((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2)
            track = follow(Mark((float(xs[middle]), float(ys[middle])), 12, ""), pictures, 0, SIZE)
            values = [overlap(track.mask(k, SIZE) > 127, masks[k]) for k in range(FRAMES)]
            found["point", thing.motion].append(np.mean(values))
    for kind in ("box", "point", "painted"):
        every = [value for (of, _), values in found.items() if of == kind for value in values]
        print(f"{kind}: {len(every)} tracks, IoU {np.mean(every):.3f}, tenth percentile {np.quantile(every, 0.1):.3f}")
        for motion in sorted({motion for of, motion in found if of == kind}):
            print(f"  {motion}: {np.mean(found[kind, motion]):.3f} ({len(found[kind, motion])})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
