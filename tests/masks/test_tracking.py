"""Boxes and points: how they are read, and that they follow their object, against exact paths."""

import cv2
import numpy as np
import pytest

from flowedit.masks.marks import Mark, check, marks, of_cut, written
from flowedit.masks.tracking import Track, follow, looked_at
from flowedit.messages import InputError
from flowedit.pocket import scene
from flowedit.pocket.world import Spec, Thing

SIZE = (96, 128)


def clip(places, side=30, zoom=1.0):
    """A textured square over textured ground; `places` are its middles (x, y), frame by frame."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 120, (12, 16, 3)).astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    texture = rng.integers(100, 255, (8, 8, 3)).astype(np.uint8)
    frames, boxes = [], []
    for k, (x, y) in enumerate(places):
        frame, now = ground.copy(), round(side * zoom**k)
        left, top = round(x - now / 2), round(y - now / 2)
        patch = cv2.resize(texture, (now, now), interpolation=cv2.INTER_CUBIC)
        a, b, c, d = max(top, 0), min(top + now, SIZE[0]), max(left, 0), min(left + now, SIZE[1])
        if a < b and c < d:
            frame[a:b, c:d] = patch[a - top : b - top, c - left : d - left]
        frames.append(frame)
        boxes.append((left, top, now, now))
    return frames, boxes


def overlap(box, other):
    """Intersection over union of two boxes (x, y, width, height)."""
    (x, y, w, h), (u, v, s, t) = box, other
    common = max(0, min(x + w, u + s) - max(x, u)) * max(0, min(y + h, v + t) - max(y, v))
    return common / (w * h + s * t - common)


def tracked(frames, box, start, shown=SIZE, first=0):
    return follow(Mark(tuple(map(float, box)), start + first, ""), [looked_at(f) for f in frames], first, shown)


@pytest.mark.parametrize("start", [0, 5, 11])
def test_a_box_follows_a_moving_square_forward_and_backward(start):
    frames, boxes = clip([(25 + 6 * k, 40 + 2 * k) for k in range(12)])
    track = tracked(frames, boxes[start], start)
    assert min(overlap(track.box(k, SIZE), boxes[k]) for k in range(12)) > 0.85


def test_it_grows_with_what_comes_closer():
    frames, boxes = clip([(64, 48)] * 10, zoom=1.06)
    track = tracked(frames, boxes[0], 0)
    assert overlap(track.box(9, SIZE), boxes[9]) > 0.75
    assert overlap(boxes[0], boxes[9]) < 0.4


def test_a_box_that_leaves_the_frame_goes_on_as_it_went():
    frames, boxes = clip([(90 + 8 * k, 48) for k in range(10)])
    track = tracked(frames, boxes[0], 0)
    x = track.box(9, SIZE)[0]
    assert x > SIZE[1] - 4  # it is out, and did not hold on to the border
    assert track.mask(9, SIZE).sum() <= 255 * 4 * 30
    assert track.mask(0, SIZE)[48, 90] == 255


def test_what_stands_still_stays():
    frames, boxes = clip([(50, 40)] * 6)
    assert np.allclose(tracked(frames, boxes[2], 2).boxes, tracked(frames, boxes[2], 2).boxes[2], atol=0.004)


def test_pixels_count_as_the_clip_is_shown():
    frames, boxes = clip([(25 + 6 * k, 48) for k in range(4)])
    wide = [(2 * x, y, 2 * w, h) for x, y, w, h in boxes]  # stored pixels that are twice as wide as high
    track = tracked(frames, wide[0], 0, shown=(SIZE[0], 2 * SIZE[1]))
    assert overlap(track.box(3, SIZE), boxes[3]) > 0.85


def test_a_track_knows_the_frames_of_its_shot_alone():
    frames, boxes = clip([(40, 40)] * 3)
    track = tracked(frames, boxes[0], 0, first=7)
    assert track.box(6, SIZE) is None
    assert track.box(10, SIZE) is None
    assert track.mask(10, SIZE).max() == 0
    assert track.mask(9, SIZE).max() == 255


PATHS = [Thing("bus", "left"), Thing("pig", "up"), Thing("frog", "bounce"), Thing("car", "approach")]


def truth(thing, frames=13):
    made = scene(Spec((thing,), "sand", 3), SIZE, frames)
    return made.frames, made.masks[0] > 0.5


def boxed(mask):
    return cv2.boundingRect(mask.astype(np.uint8))


@pytest.mark.parametrize("thing", PATHS, ids=lambda thing: thing.motion)
def test_a_box_follows_the_exact_path_of_the_pocket_worlds_objects(thing):
    frames, masks = truth(thing)
    track = tracked(frames, boxed(masks[6]), 6)
    assert np.mean([overlap(track.box(k, SIZE), boxed(masks[k])) for k in range(len(masks))]) > 0.9


def test_a_point_grows_to_what_moves_with_it_and_follows_it():
    for kind in ("bus", "pig"):
        frames, masks = truth(Thing(kind, "left"))
        x, y, w, h = boxed(masks[6])
        track = tracked(frames, (x + w / 2, y + h / 2), 6)
        made = [track.mask(k, SIZE) > 127 for k in range(len(masks))]
        overlaps = [(m & t).sum() / (m | t).sum() for m, t in zip(made, masks, strict=True)]
        assert np.mean(overlaps) > 0.6
        assert min(overlaps) > 0.5


def test_a_point_on_one_colour_takes_all_of_it_and_no_more():
    frame = np.full((*SIZE, 3), 40, np.uint8)
    cv2.circle(frame, (60, 50), 20, (220, 60, 60), -1)
    cv2.circle(frame, (60, 50), 4, (20, 220, 60), -1)  # a hole of another colour is filled
    track = tracked([frame], (50.0, 50.0), 0)
    made, disc = track.mask(0, SIZE) > 127, np.zeros(SIZE, np.uint8)
    cv2.circle(disc, (60, 50), 20, 1, -1)
    assert (made & (disc > 0)).sum() / (made | (disc > 0)).sum() > 0.9


def test_a_shape_is_stretched_to_its_box():
    track = Track(0, np.array([[0.25, 0.25, 0.5, 0.5]]), np.array([[1.0, 0.0], [1.0, 1.0]]))
    mask = track.mask(0, (80, 80))
    assert mask[30, 30] > 240
    assert mask[28, 52] < 10
    assert mask[10, 10] == 0


def test_marks_are_read_as_they_are_written():
    found = marks("1,2,3,4; 5.5, 6,7,8 @2", "9,10@3")
    assert [(m.kind, m.numbers, m.frame) for m in found] == [
        ("box", (1, 2, 3, 4), 0), ("box", (5.5, 6, 7, 8), 2), ("point", (9, 10), 3)
    ]  # fmt: skip
    assert marks(None, None) == ()
    assert written([1, 2, 3, 4]) == "1,2,3,4"
    assert written([[1, 2, 3, 4], "5,6,7,8@2"]) == "1,2,3,4 5,6,7,8@2"


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "1,2,3,4@x", "1,2,3,4@-1", "1,2,3,4@", "nan,1,2,3", "1,2,inf,3"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(InputError, match=r"is not x,y,width,height\[@frame\].*such as 40,30,120,90"):
        marks(text, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [("0,0,4,0", "is empty"), ("0,0,-4,3", "is empty")],
)
def test_an_empty_box_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        marks(text, None)


@pytest.mark.parametrize(
    ("box", "point", "said"),
    [
        (
            "200,0,4,4",
            None,
            "lies outside the frame, which is shown as 128x96: give x from 0 to 127 and y from 0 to 95",
        ),
        ("-8,0,4,4", None, "lies outside"),
        (None, "128,5", "lies outside"),
        (None, "5,-1", "lies outside"),
        ("0,0,4,4@9", None, "there is no frame 9, as 9 are read: give @0 to @8"),
    ],
)
def test_a_mark_outside_the_clip_is_refused(box, point, said):
    with pytest.raises(InputError, match=said):
        check(marks(box, point), SIZE, 9)


@pytest.mark.parametrize("box", ["20,20,0.5,0.5", "127.5,20,40,40", "-9.5,20,10,10", "20,20,60,0.9"])
def test_a_box_of_less_than_a_pixel_of_the_frame_is_refused(box):
    with pytest.raises(
        InputError, match="covers less than a pixel of the frame, which is shown as 128x96: give a width"
    ):
        check(marks(box, None), (96, 128), 12)


def test_a_box_that_leaves_the_frame_is_told_with_what_is_taken_of_it():
    found = marks("30,66,1180,122 -5,-4,20,10 30,66,98,30", "80,40")
    check(found, (96, 128), 12)
    assert of_cut(found, (96, 128)) == [
        "box 30,66,1180,122 leaves the frame, which is shown as 128x96: 30,66,98,30 is taken",
        "box -5,-4,20,10 leaves the frame, which is shown as 128x96: 0,0,15,6 is taken",
    ]


@pytest.mark.parametrize("place", [0, 0.4, 0.5, 0.6, 31.5, 62.9])
def test_no_box_that_is_taken_makes_an_all_black_mask(place):
    """In a frame of half the size a pixel of the shown one may round to nothing."""
    track = Track(0, np.array([[place / 64, place / 64, 1 / 64, 1 / 64]]))
    for size in ((64, 64), (32, 32), (48, 80)):
        assert track.mask(0, size).any(), size
    outside = Track(0, np.array([[-0.5, 0.2, 0.1, 0.1], [1.2, 0.2, 0.1, 0.1]]))
    assert not outside.mask(0, (32, 32)).any()
    assert not outside.mask(1, (32, 32)).any()
