"""Upscalers: which are refused, weights from files, tiles, what is held, steadied and matched, against closed forms."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flowedit.cli.upscale import upscale_parser
from flowedit.config.defaults import read
from flowedit.config.folder import folder
from flowedit.config.schema import Settings
from flowedit.declare import options_of
from flowedit.messages import FileMissingError, InputError
from flowedit.upscaling import asked as asking
from flowedit.upscaling import ncnn_file, realesrgan
from flowedit.upscaling.asked import asked
from flowedit.upscaling.catalogue import UPSCALERS
from flowedit.upscaling.edges import CONTENT, PACE, Edge, offset
from flowedit.upscaling.lanczos import lanczos
from flowedit.upscaling.larger import Larger, Opened
from flowedit.upscaling.networks import TiledNetwork, network_of, tiles
from flowedit.upscaling.steady import KEPT, Steady, cubic, held

CPU = torch.device("cpu")

installed = pytest.mark.skipif(
    importlib.util.find_spec(realesrgan.SHIPS) is None or importlib.util.find_spec("spandrel") is None,
    reason="needs the extra [upscale]",
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth(size, seed=0):
    return np.clip(np.rint(cubic(noise(5, 7, 3, seed=seed), size)), 0, 255).astype(np.uint8)


def weights(scale=2, features=4, layers=2, channels=3):
    """A tiny random network of Real-ESRGAN's compact kind, by its names."""
    made = torch.Generator().manual_seed(0)
    draw = lambda *shape: 0.05 * torch.randn(shape, generator=made)  # noqa: E731
    found = {"body.0.weight": draw(features, channels, 3, 3), "body.0.bias": draw(features)}
    for layer in range(layers):
        found |= {f"body.{2 * layer + 1}.weight": draw(features)}
        found |= {f"body.{2 * layer + 2}.weight": draw(features, features, 3, 3)}
        found |= {f"body.{2 * layer + 2}.bias": draw(features)}
    last, out = 2 * layers + 1, channels * scale**2
    found |= {f"body.{last}.weight": draw(features)}
    return found | {f"body.{last + 1}.weight": draw(out, features, 3, 3), f"body.{last + 1}.bias": draw(out)}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A user's own network, twice the size; read only."""
    path = tmp_path_factory.mktemp("networks") / "own.safetensors"
    save_file(weights(), path)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lanzcos", "did you mean 'lanczos'"),
        ("x4.pth", "a pickle, which can run code"),
        ("net.ckpt", "a pickle, which can run code"),
    ],
)
def test_what_is_no_upscaler_is_refused_with_what_to_type(text, said):
    with pytest.raises(InputError, match=said):
        asked(text)


def test_a_file_is_refused_that_is_not_there_and_one_that_is_no_safetensors(tmp_path):
    with pytest.raises(FileMissingError, match="does not exist"):
        asked(str(tmp_path / "own.safetensors"))
    pickle = tmp_path / "named.safetensors"
    torch.save({"a": torch.zeros(1)}, pickle)
    with pytest.raises(InputError, match="not a safetensors file"):
        asked(str(pickle))
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        asked(str(tmp_path))


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_name_is_a_name_whatever_lies_in_the_working_folder(tmp_path, monkeypatch, own, make):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "lanczos")
    assert asked("lanczos") is UPSCALERS["lanczos"]
    with pytest.raises(InputError, match=r"no \.safetensors file"):
        asked("./lanczos")
    make(tmp_path / "other")
    with pytest.raises(InputError, match=r"'other' is no upscaler: one of .*, or a \.safetensors file"):
        asked("other")
    (tmp_path / "net.safetensors").write_bytes(own.read_bytes())
    assert asked("net.safetensors").packages == ("spandrel",)


def test_a_plug_in_that_is_broken_says_why(monkeypatch):
    reason = "plug-in 'theirs': its upscaler 'broken' cannot be loaded: no module named 'gone'"
    monkeypatch.setitem(UPSCALERS.broken, "broken", reason)
    with pytest.raises(InputError, match="no module named 'gone'"):
        asked("broken")


def test_names_of_upscalers_stand_in_the_registry_alone():
    """Else what a plug-in or a new file brings would be missing from `--help` and from conf/."""
    conf = folder()
    texts = [
        options_of(Settings)["upscale"].help,
        *((conf / name).read_text() for name in ("edit.yaml", "upscale.yaml")),
    ]
    default = read("upscale")["upscale"]
    for text in (*texts, upscale_parser().format_help().partition("examples:")[0]):
        assert "flowedit list upscalers" in " ".join(text.split())
        assert not {name for name in UPSCALERS if re.search(rf"\b{name}\b", text)} - {default}


def test_a_missing_extra_is_told_before_anything_is_opened(monkeypatch, own):
    monkeypatch.setattr(asking.importlib.util, "find_spec", lambda name: None)
    for text in ("realesrgan", "realesrgan_drawn", str(own)):
        with pytest.raises(InputError, match=r"pip install 'flowedit\[upscale\]'"):
            asked(text)
    assert not asked("lanczos").invents


def ncnn(folder, arrays, half):
    """A convolution of 2 from 3 channels and its slopes in ncnn's files."""
    lines = ["7767517", "3 3", "Input in 0 1 data", "Convolution c 1 1 data a 0=2 1=3 4=1 5=1 6=54 -23310=1,2.0e-01"]
    (folder / "a.param").write_text("\n".join([*lines, "PReLU p 1 1 a b 0=2"]) + "\n")
    weight, bias, slope = arrays
    stored = weight.astype("<f2") if half else weight.astype("<f4")
    flag = np.array([ncnn_file.HALF if half else 0], "<u4").tobytes()
    (folder / "a.bin").write_bytes(
        flag + stored.tobytes() + bias.astype("<f4").tobytes() + slope.astype("<f4").tobytes()
    )
    return folder / "a.param", folder / "a.bin"


@pytest.mark.parametrize("half", [True, False])
def test_weights_in_ncnns_files_are_read_as_they_are(tmp_path, half):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((2, 3, 3, 3)), rng.standard_normal(2), rng.standard_normal(2)
    found = ncnn_file.weights(*ncnn(tmp_path, arrays, half))
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3 if half and one.ndim == 4 else 1e-6)


@pytest.mark.parametrize("cut", [4, -5, 40])
def test_numbers_that_do_not_fit_their_layers_are_refused(tmp_path, cut):
    param, numbers = ncnn(tmp_path, (np.ones((2, 3, 3, 3)), np.ones(2), np.ones(2)), True)
    data = numbers.read_bytes()
    numbers.write_bytes(data + bytes(cut) if cut == 40 else data[:cut])
    with pytest.raises(InputError, match="no network that is known here"):
        ncnn_file.weights(param, numbers)


def test_a_layer_that_is_not_known_is_named(tmp_path):
    param, numbers = ncnn(tmp_path, (np.ones((2, 3, 3, 3)), np.ones(2), np.ones(2)), True)
    param.write_text(param.read_text().replace("PReLU", "Softmax"))
    with pytest.raises(InputError, match="a layer Softmax"):
        ncnn_file.weights(param, numbers)


@installed
def test_real_esrgans_weights_are_those_of_its_network():
    folder = realesrgan.folder()
    arrays = ncnn_file.weights(folder / "REALESRGAN_X4PLUS_UP4X.param", folder / "REALESRGAN_X4PLUS_UP4X.bin")
    named = dict(realesrgan.rrdb(arrays))
    assert sum(array.size for array in named.values()) == 16_697_987
    assert named["body.22.rdb3.conv5.weight"].shape == (64, 192, 3, 3)
    assert named["conv_last.weight"].shape == (3, 64, 3, 3)


@installed
def test_real_esrgan_draws_an_edge_sharper_than_a_cubic_and_keeps_its_colours():
    frame = np.full((20, 24, 3), (40, 90, 160), np.uint8)
    frame[:, 12:] = (200, 120, 60)
    made, plain = Opened("realesrgan_drawn", CPU).enlarge(frame, (80, 96), None), cubic(frame, (80, 96))
    steepest = [np.abs(np.diff(each[40], axis=0)).max() for each in (made, plain)]
    assert steepest[0] > 1.2 * steepest[1]
    assert np.abs(made[20:60, 8:36].mean((0, 1)) - (40, 90, 160)).max() < 4


@installed
@pytest.mark.parametrize("size", [(5, 7), (40, 33)])
def test_a_users_own_network_enlarges_frames_of_any_size(own, size):
    larger = Larger(Opened(str(own), CPU))
    assert larger(noise(2, *size, 3), (2 * size[0] + 1, 2 * size[1])).shape == (2, 2 * size[0] + 1, 2 * size[1], 3)


@installed
@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"some.weight": torch.zeros(3)}, "no network that spandrel knows"),
        (weights(scale=1), "at 1 times the size"),
        (weights(channels=1), "from 1 to 1 channels"),
    ],
)
def test_weights_of_another_network_are_refused(found, said):
    with pytest.raises(InputError, match=said):
        network_of(found, CPU, "upscale 'x.safetensors'")


@pytest.mark.parametrize("size", [(1, 1), (10, 25), (33, 20)])
def test_tiles_cover_a_frame_once(size):
    count = np.zeros(size, int)
    for tile in tiles(size, 10, 3):
        count[tile.own] += 1
    assert (count == 1).all()


def convolutions(scale=2):
    """Three random convolutions of reach 3, and pixels shuffled to twice the size."""
    torch.manual_seed(0)
    inner = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.Tanh()]
    last = torch.nn.Conv2d(8, 3 * scale**2, 3, padding=1), torch.nn.PixelShuffle(scale), torch.nn.Sigmoid()
    return torch.nn.Sequential(*inner, *last)


def test_tiled_is_whole_where_the_overlap_is_the_networks_reach():
    network, frame = convolutions(), noise(60, 58, 3)
    whole = TiledNetwork(network, 2, CPU, side=100)(frame, (120, 116))
    away = [np.abs(TiledNetwork(network, 2, CPU, 20, overlap)(frame, (120, 116)) - whole).max() for overlap in (3, 2)]
    assert away[0] < 255e-4 < away[1]


def test_only_tiles_that_will_be_seen_are_run():
    network, frame, wanted = convolutions(), noise(48, 48, 3), np.zeros((48, 48), bool)
    wanted[40, 3] = True
    made = TiledNetwork(network, 2, CPU, side=16, overlap=3)(frame, (96, 96), wanted)
    whole, plain = TiledNetwork(network, 2, CPU)(frame, (96, 96)), np.clip(cubic(frame, (96, 96)), 0, 255)
    np.testing.assert_allclose(made[64:, :32], whole[64:, :32], atol=255e-4)
    np.testing.assert_allclose(made[:64], plain[:64], atol=1e-3)


def test_lanczos_keeps_what_is_even_and_stays_within_levels():
    np.testing.assert_allclose(lanczos(np.full((9, 8, 3), 77, np.uint8), (27, 20)), 77, atol=1e-3)
    made = lanczos(noise(9, 8, 3), (27, 20))
    assert made.shape == (27, 20, 3)
    assert 0 <= made.min() < made.max() <= 255


def test_what_is_held_loses_a_shift_of_colours_whole_and_most_of_its_distance_to_the_frame():
    even = np.full((10, 12, 3), 90, np.uint8)
    np.testing.assert_allclose(held(np.full((40, 48, 3), 97.5, np.float32), even), 90, atol=1e-4)
    frame = smooth((16, 20))
    larger = cubic(frame, (64, 80)) + 20 * np.random.default_rng(0).standard_normal((64, 80, 3)).astype(np.float32)

    def away(made):
        return np.abs(frame - made.reshape(16, 4, 20, 4, 3).mean((1, 3))).mean()

    assert away(held(larger, frame)) < 0.35 * away(larger)


def test_detail_of_a_picture_that_stands_still_comes_from_the_frame_before():
    frame, size = smooth((40, 48)), (80, 96)
    rng = np.random.default_rng(0)
    first, second = (cubic(frame, size) + 6 * rng.standard_normal((*size, 3)).astype(np.float32) for _ in range(2))
    steady = Steady()
    before, after = steady(frame, first), steady(frame, second)
    np.testing.assert_array_equal(before, np.clip(np.rint(first), 0, 255))
    expected = second + KEPT * (before - second)
    inner = slice(8, -8), slice(8, -8)
    assert np.abs(after.astype(np.float32) - np.clip(expected, 0, 255))[inner].max() <= 0.6  # its rounding


def test_a_cut_leaves_no_ghost():
    size, steady = (80, 96), Steady()
    steady(smooth((40, 48)), cubic(smooth((40, 48)), size) + 30)
    other = 255 - smooth((40, 48), seed=5) // 2
    plain = cubic(other, size)
    given = steady(other, plain)
    assert np.abs(given - np.clip(plain, 0, 255)).mean() < 1


def scene(away, size=(120, 160)):
    """An edit that is `away` from its source, and another picture inside the mask in its middle."""
    source = 80 + smooth(size) // 4
    edit, mask = (source.astype(int) - away).astype(np.uint8), np.zeros(size, np.float32)
    mask[40:80, 50:110] = 1
    edit[40:80, 50:110] = noise(40, 60, 3)
    return edit, source, mask


@pytest.mark.parametrize("away", [0, 7, -12])
def test_an_edit_that_is_off_by_a_constant_around_its_mask_gets_it_everywhere(away):
    np.testing.assert_allclose(offset(*scene(away)), away, atol=1e-3)


def test_another_picture_around_the_mask_moves_no_colours_far_and_no_ring_none():
    edit, source, mask = scene(0)
    assert np.abs(offset(255 - edit, source, mask)).max() <= CONTENT
    for even in (0, 1):
        assert (offset(edit, source, np.full_like(mask, even)) == 0).all()


def test_an_offset_follows_the_side_that_it_is_seen_on():
    _, source, mask = scene(0)
    lit = source.astype(np.float32) + np.linspace(-10, 10, source.shape[1])[:, None]
    found = offset(np.rint(lit).astype(np.uint8), source, mask)
    left, right = found[48, 38], found[48, 90]  # at the mask's edges, at 96x128
    np.testing.assert_allclose(left, 3.75, atol=1.5)
    np.testing.assert_allclose(right, -3.75, atol=1.5)


def test_offsets_follow_each_other_slowly():
    edge, first, second = Edge(), scene(10), scene(0)
    for number, (edit, source, mask) in enumerate((first, second, second)):
        made = edge(edit[None], source[None], mask[None])[0].astype(int)
        assert np.abs(made - edit - 10 * (1 - PACE) ** number)[:30].max() <= 0.51


def test_a_steadied_clip_flickers_less_than_a_bare_one():
    from flowedit.metrics.temporal import flow, warp_error

    class Grainy:
        invents = True

        def __init__(self):
            self.rng = np.random.default_rng(0)

        def enlarge(self, frame, size, wanted):
            return cubic(frame, size) + 8 * self.rng.standard_normal((*size, 3)).astype(np.float32)

    wide = smooth((96, 130))
    clip = np.stack([wide[:, 3 * i : 3 * i + 96] for i in range(5)])  # a pan of three pixels a frame
    small = clip.reshape(5, 48, 2, 48, 2, 3).mean((2, 4)).round().astype(np.uint8)
    fields = [flow(a, b, "dis", CPU) for a, b in ((clip[:-1], clip[1:]), (clip[1:], clip[:-1]))]
    grains = Grainy()
    bare = np.stack([held(grains.enlarge(frame, (96, 96), None), frame) for frame in small])
    made = Larger(Grainy())(small, (96, 96))
    error = [warp_error(np.clip(each, 0, 255).astype(np.uint8), *fields).sum(0) for each in (bare, made)]
    assert error[1][0] < 0.4 * error[0][0]
