"""Pictures in the planes of their file, and edits put back into them: what is not edited keeps every bit."""

import av
import numpy as np
import pytest

from flowedit.media.colours import HLG, PQ, Colour
from flowedit.media.planes.blend import Depth, planes_of
from flowedit.media.planes.picture import Planar, of_frame, to_frame

SIZE = (46, 68)
COLOURS = [Colour(), Colour(9, PQ, 9), Colour(9, HLG, 9), Colour(12, 13, 5)]
KINDS = [
    ("420", 10, False),
    ("422", 10, False),
    ("444", 12, False),
    ("420", 8, True),
    ("rgb", 16, True),
    ("rgb", 8, True),
]


def noisy(chroma, bits, full=False, alpha=False, size=SIZE, seed=0):
    """A picture of noise of all levels that have a place."""
    rng, kind = np.random.default_rng(seed), np.uint8 if bits == 8 else np.uint16
    halves = {"420": (2, 2), "422": (1, 2)}.get(chroma, (1, 1))
    shapes = [size, *[tuple(-(-side // half) for side, half in zip(size, halves, strict=True))] * 2]
    low, high = (0, 2**bits) if full else (64 << bits - 8, 180 << bits - 8)
    planes = tuple(rng.integers(low, high, shape).astype(kind) for shape in shapes)
    return Planar(planes, rng.integers(0, 2**bits, size).astype(kind) if alpha else None, bits, chroma, full)


def masked(top=10, bottom=30, left=12, right=40, size=SIZE):
    mask = np.zeros(size, np.float32)
    mask[top:bottom, left:right] = 1
    return mask


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv422p10le", "yuv444p12le", "yuva420p", "yuva444p10le", "gbrp10le", "gbrap16le", "gray10le"]
)
def test_a_frame_keeps_every_bit_through_planes(name):
    frame = av.VideoFrame(SIZE[1], SIZE[0], name)
    bits = max(component.bits for component in frame.format.components)
    rng = np.random.default_rng(1)
    for plane in frame.planes:
        values = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)
        values[:] = rng.integers(0, 2**bits, values.shape)
    stored = of_frame(frame)
    again = of_frame(to_frame(stored, Colour(9, PQ, 9)))
    for one, other in zip(stored.planes, again.planes, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (stored.alpha is None) == (again.alpha is None) == ("a" not in name.partition("p")[0] or "gray" in name)
    if stored.alpha is not None:
        np.testing.assert_array_equal(stored.alpha, again.alpha)
    assert (stored.bits, stored.size) == (bits, SIZE)


@pytest.mark.parametrize(
    ("name", "order"),
    [("rgb48be", (0, 1, 2)), ("rgba64be", (0, 1, 2, 3)), ("argb", (1, 2, 3, 0)), ("bgra", (2, 1, 0, 3))],
)
def test_packed_pixels_become_planes_without_loss(name, order):
    kind = np.uint8 if name in ("argb", "bgra") else np.uint16
    pixels = np.random.default_rng(2).integers(0, np.iinfo(kind).max + 1, (*SIZE, len(order))).astype(kind)
    stored = of_frame(av.VideoFrame.from_ndarray(pixels, format=name))
    parts = [*stored.planes, *([stored.alpha] if len(order) == 4 else [])]
    for place, part in zip(order, parts, strict=True):
        np.testing.assert_array_equal(part, pixels[..., place])


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize(("chroma", "bits", "full"), KINDS)
def test_what_is_not_edited_keeps_every_bit(colour, chroma, bits, full):
    depth, original, mask = Depth(colour), noisy(chroma, bits, full, alpha=True), masked()
    seen = depth.shown(original)
    assert depth.blended(original, seen, seen.copy(), np.ones(SIZE, np.float32)) is original
    edit = np.random.default_rng(3).integers(0, 256, seen.shape).astype(np.uint8)
    edit[mask > 0] = np.where(np.arange(560)[:, None] % 2, edit[mask > 0], seen[mask > 0])  # every other as it was
    made = depth.blended(original, seen, edit, mask)
    assert made.alpha is original.alpha
    same = (mask == 0) | (edit == seen).all(-1)
    luma = made.planes if chroma == "rgb" else made.planes[:1]
    for new, old in zip(luma, original.planes, strict=False):
        np.testing.assert_array_equal(new[same], old[same])
        assert (new != old).any()
    if chroma != "rgb":
        down, across = {"420": (2, 2), "422": (1, 2)}.get(chroma, (1, 1))
        outside = (
            np.add.reduceat(np.add.reduceat(mask == 0, range(0, SIZE[0], down), 0), range(0, SIZE[1], across), 1) > 0
        )
        for new, old in zip(made.planes[1:], original.planes[1:], strict=True):
            np.testing.assert_array_equal(new[outside], old[outside])
            assert (new != old).any()


@pytest.mark.parametrize("colour", COLOURS, ids=str)
@pytest.mark.parametrize(("chroma", "bits", "full"), KINDS)
def test_a_new_colour_is_seen_as_it_was_made(colour, chroma, bits, full):
    depth, original, mask = Depth(colour), noisy(chroma, bits, full), masked(0, 46, 0, 68)
    seen = depth.shown(original)
    new = np.array([190, 110, 80], np.uint8)
    edit = np.broadcast_to(new, seen.shape).copy()
    edit[(np.abs(seen.astype(int) - new).max(-1) < 16)] = new
    again = depth.shown(depth.blended(original, seen, edit, mask))
    far = np.abs(seen.astype(int) - new).max(-1) >= 16
    assert np.abs(again[far].astype(int) - new).max() <= (1 if colour.transfer in (1, 13) and bits > 8 else 4)


def test_a_soft_mask_mixes_luma_in_the_files_own_levels():
    original = Planar(tuple(np.full(SIZE, level, np.uint16) for level in (400, 512, 512)), None, 10, "444")
    depth = Depth(Colour())
    seen = depth.shown(original)
    edit = np.full_like(seen, 200)
    mask = np.linspace(0, 1, SIZE[1], dtype=np.float32)[None].repeat(SIZE[0], 0)
    made = depth.blended(original, seen, edit, mask)
    new = 4 * (16 + 219 * 200 / 255)
    np.testing.assert_allclose(made.planes[0], 400 + mask * (new - 400), atol=0.51)
    np.testing.assert_array_equal(made.planes[1], original.planes[1])


def test_a_small_change_keeps_what_eight_bits_do_not_hold():
    """A quarter of a level, which 8 bits round away, is there again after the pixel moved by 2 of 255."""
    luma = np.full(SIZE, 401, np.uint16)
    original = Planar((luma, np.full(SIZE, 512, np.uint16), np.full(SIZE, 512, np.uint16)), None, 10, "444")
    depth = Depth(Colour())
    seen = depth.shown(original)
    made = depth.blended(original, seen, seen + np.uint8(2), np.ones(SIZE, np.float32))
    rounded = planes_of(seen.astype(np.float32) / 255, original, 1)[0]
    expected = planes_of((seen + np.float32(2)) / 255, original, 1)[0] + (1 - 2 / 16) * (luma - rounded)
    np.testing.assert_allclose(made.planes[0], expected, atol=0.51)


@pytest.mark.parametrize("size", [(45, 67), (1, 1), (2, 3)])
def test_odd_sizes(size):
    original, depth = noisy("420", 10, size=size), Depth(Colour())
    seen = depth.shown(original)
    made = depth.blended(original, seen, 255 - seen, np.ones(size, np.float32))
    assert [plane.shape for plane in made.planes] == [plane.shape for plane in original.planes]
    assert (made.planes[0] != original.planes[0]).any()


def test_nothing_is_seen_where_a_picture_is_transparent():
    original = noisy("rgb", 8, True, alpha=True)
    original.alpha[:20] = 0
    seen = Depth(Colour()).shown(original)
    assert (seen[:20] == 255).all()
    np.testing.assert_array_equal(seen[original.alpha > 0], np.stack(original.planes, -1)[original.alpha > 0])
