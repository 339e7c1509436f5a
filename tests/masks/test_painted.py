"""Strokes and boxes: how they are read, drawn, and that they follow the pocket world's objects."""

import cv2
import numpy as np
import pytest

from flowedit.masks.painted import MOST_POINTS, Area, Stroke, areas_of, drawn, followed, over, pieces_of, strokes_of
from flowedit.masks.tracking import ShotFlow, looked_at
from flowedit.messages import InputError
from flowedit.pocket import scene
from flowedit.pocket.world import Spec, Thing

SIZE, FRAMES = (128, 128), 13


def world(**thing):
    spec = Spec((Thing("fox", **({"motion": "right", "x": 0.45, "scale": 0.45, "travel": 0.4} | thing)),))
    return scene(spec, SIZE, FRAMES)


def brushed(mask, frame, radius=3, erase=False):
    """Strokes along the rows of a mask, as a careful hand paints it."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    ys, xs = np.nonzero(cv2.erode(mask.astype(np.uint8), kernel))
    made = []
    for y in np.unique(ys):
        for part in np.split(xs[ys == y], np.flatnonzero(np.diff(xs[ys == y]) > 1) + 1):
            ends = [[(x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0]] for x in (part[0], part[-1])]
            made.append({"frame": frame, "points": ends, "radius": radius / SIZE[1], "erase": erase})
    return made


def masks_of(made, strokes, boxes=(), base=0):
    flows = ShotFlow([looked_at(frame) for frame in made.frames])
    pieces = pieces_of(strokes_of(strokes, FRAMES), areas_of(boxes, FRAMES))
    paints = [paint for piece in pieces for paint in followed(piece, flows, 0)]
    return np.stack([over(np.full(SIZE, base, np.uint8), paints, k) for k in range(FRAMES)])


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("motion", ["right", "left", "up", "still"])
@pytest.mark.parametrize("start", [0, 6])
def test_what_is_painted_on_a_frame_follows_the_object(motion, start):
    made = world(motion=motion)
    truth = made.masks[0] > 0.5
    found = masks_of(made, brushed(truth[start], start)) > 127
    values = [overlap(found[k], truth[k]) for k in range(FRAMES)]
    assert min(values) > 0.8
    if motion != "still":
        still = [overlap(found[start], each) for each in truth]
        assert min(values) > min(still) + 0.2


def test_a_box_follows_too():
    made = world()
    truth = made.masks[0] > 0.5
    x, y, w, h = cv2.boundingRect(truth[0].astype(np.uint8))
    box = {"frame": 0, "x": x / 128, "y": y / 128, "width": w / 128, "height": h / 128}
    found = masks_of(made, (), [box]) > 127
    for k in range(FRAMES):
        u, v, s, t = cv2.boundingRect(truth[k].astype(np.uint8))
        true = np.zeros(SIZE, bool)
        true[v : v + t, u : u + s] = True
        assert overlap(found[k], true) > 0.85


def test_an_eraser_takes_the_object_out_and_goes_with_it():
    made = world()
    truth = made.masks[0] > 0.5
    found = masks_of(made, brushed(truth[4], 4, erase=True), base=255)
    left = [(found[k] > 127)[truth[k]].mean() for k in range(FRAMES)]
    assert max(left) < 0.2
    assert (found > 127)[~truth].mean() > 0.9


def test_the_order_of_brush_and_eraser_counts():
    made = world(motion="still")
    dot = {"frame": 0, "points": [[0.5, 0.5]], "radius": 0.1}
    assert masks_of(made, [dot, dot | {"erase": True}])[:, 64, 64].max() == 0
    assert masks_of(made, [dot | {"erase": True}, dot])[:, 64, 64].min() == 255
    whole = {"frame": 0, "x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0}
    rubbed = masks_of(made, [dot | {"erase": True}], [whole])
    assert rubbed[:, 64, 64].max() == 0
    assert rubbed[:, 5, 5].min() == 255


def test_strokes_are_drawn_where_they_lie_and_as_wide_as_they_are():
    line = Stroke(0, ((0.25, 0.5), (0.75, 0.5)), 0.05)
    mask = drawn([line], (100, 200))
    ys, xs = np.nonzero(mask)
    assert abs(ys.mean() - 49.5) < 1
    assert abs((ys.max() - ys.min() + 1) - 20) <= 1
    assert abs(xs.min() - 40) <= 1
    assert abs(xs.max() - 159) <= 1
    assert drawn([Stroke(0, ((2.0, 2.0),), 0.05)], (100, 200)).sum() == 0


def test_strokes_that_touch_are_one_thing():
    made = world()
    flows = ShotFlow([looked_at(frame) for frame in made.frames])
    near = Stroke(0, ((0.5, 0.5),), 0.05), Stroke(0, ((0.55, 0.5),), 0.05)
    (piece,) = pieces_of(near, ())
    assert len(followed(piece, flows, 0)) == 1
    (piece,) = pieces_of((near[0], Stroke(0, ((0.8, 0.5),), 0.05)), ())
    assert len(followed(piece, flows, 0)) == 2


GOOD = {"frame": 0, "points": [[0.5, 0.5]], "radius": 0.1}


@pytest.mark.parametrize(
    ("stroke", "said"),
    [
        ([1, 2], "a stroke is"),
        (GOOD | {"colour": "red"}, "a stroke is"),
        (GOOD | {"frame": 13}, "the clip has 13"),
        (GOOD | {"frame": -1}, "not a whole number"),
        (GOOD | {"frame": True}, "not a whole number"),
        (GOOD | {"frame": "x" * 10_000}, "not a whole number"),
        (GOOD | {"points": []}, "needs a point"),
        (GOOD | {"points": [[0.5]]}, "not a place"),
        (GOOD | {"points": [[0.5, float("nan")]]}, "not a place"),
        (GOOD | {"points": [[0.5, 1e9]]}, "not a place"),
        (GOOD | {"points": "all"}, "list of points"),
        (GOOD | {"radius": 0}, "a radius from"),
        (GOOD | {"radius": 1.5}, "a radius from"),
        (GOOD | {"erase": 1}, "true or false"),
        (GOOD | {"points": [[0.5, 0.5]] * (MOST_POINTS + 1)}, "more than"),
    ],
)
def test_what_is_no_stroke_is_refused_in_one_line(stroke, said):
    with pytest.raises(InputError, match=said) as error:
        strokes_of([stroke], FRAMES)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("change", "said"),
    [({"width": 0}, "above 0"), ({"x": 1.5}, "in the frame"), ({"y": -2}, "in the frame"), ({"z": 1}, "a box is")],
)
def test_what_is_no_box_is_refused(change, said):
    box = {"frame": 0, "x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}
    assert areas_of([box], FRAMES) == (Area(0, 0.1, 0.1, 0.5, 0.5),)
    with pytest.raises(InputError, match=said):
        areas_of([box | change], FRAMES)
    with pytest.raises(InputError, match="more than"):
        areas_of([box] * 501, FRAMES)
