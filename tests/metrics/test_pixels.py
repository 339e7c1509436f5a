"""Metrics of single frames against hand-computed numbers and against torchmetrics called on its own."""

import math
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchmetrics.functional import mean_squared_error
from torchmetrics.functional.image import (
    learned_perceptual_image_patch_similarity,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from flowedit.metrics import perceptual, pixels, ssim
from flowedit.metrics.temporal import temporal_flicker

CPU = torch.device("cpu")
SIZE = (40, 48)
FIVE = {
    "psnr": (pixels.background_psnr_five, lambda a, b: peak_signal_noise_ratio(a, b, data_range=1.0)),
    "mse": (pixels.background_mse_five, mean_squared_error),
    "ssim": (ssim.background_ssim_five, lambda a, b: structural_similarity_index_measure(a, b, data_range=1.0)),
}


@pytest.fixture
def clip():
    """Source, edit and mask of 5 frames of smooth noise."""
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.uniform(0, 255, (5, 3, 10, 12)))
    smooth = torch.nn.functional.interpolate(small, SIZE, mode="bicubic").clamp(0, 255).permute(0, 2, 3, 1).numpy()
    source = smooth.astype(np.uint8)
    edit = np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
    mask = np.zeros((5, *SIZE), bool)
    mask[:, 10:30, 5:25] = True
    return source, edit, mask


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub with a folder of its own and no way out; no network is kept from another test."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*_args, **_options):
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    perceptual._model.cache_clear()
    yield tmp_path
    perceptual._model.cache_clear()


def masked(frame, mask):
    """One frame as FiVE-Bench hands it to torchmetrics."""
    black = frame.astype(np.float32) / 255 * (1 - mask[..., None].astype(np.float32))
    return torch.tensor(black.transpose(2, 0, 1).copy())[None]


@pytest.mark.parametrize("name", FIVE)
def test_the_form_of_five_is_torchmetrics_on_black_masks(name, clip):
    source, edit, mask = clip
    ours, theirs = FIVE[name]
    wanted = [float(theirs(masked(b, m), masked(a, m))) for a, b, m in zip(*clip, strict=True)]
    assert ours(edit, source, mask, CPU) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("name", "perfect"), [("psnr", math.inf), ("mse", 0), ("ssim", 1)])
def test_the_form_of_five_takes_the_masked_for_perfect(name, perfect, clip):
    source, edit, mask = clip
    ours, _ = FIVE[name]
    assert ours(edit, source, np.ones_like(mask), CPU) == pytest.approx([perfect] * 5)
    assert ours(source, source, mask, CPU) == pytest.approx([perfect] * 5)
    edit = np.where(mask[..., None], edit, source)
    assert ours(edit, source, mask, CPU) == pytest.approx([perfect] * 5)


def test_both_forms_of_the_background_by_hand():
    source, mask = np.zeros((1, 32, 32, 3), np.uint8), np.ones((1, 32, 32), bool)
    edit = source + 200
    edit[0, 7, 9], mask[0, 7, 9] = 51, False  # one pixel is background, a fifth of white away
    assert pixels.background_psnr(edit, source, mask) == pytest.approx(20 * math.log10(5))
    assert pixels.background_mse_five(edit, source, mask, CPU) == pytest.approx(0.04 / 1024)
    assert pixels.background_psnr_five(edit, source, mask, CPU) == pytest.approx(10 * math.log10(1024 / 0.04))


def test_pooled_rows_are_the_error_of_the_clip(clip):
    source, edit, mask = clip
    rows = pixels.squares(edit, source, ~mask)
    assert rows[:, 1] == pytest.approx(40 * 48 - 400)
    assert pixels.pooled_error(rows) == pixels.mse(edit, source, ~mask)
    assert pixels.pooled_error(rows) == pytest.approx(
        np.square(edit[~mask] - source[~mask].astype(float)).mean(), rel=1e-12
    )


def test_ssim_is_that_of_torchmetrics(clip):
    source, edit, _ = clip
    tensors = [torch.from_numpy(x).permute(0, 3, 1, 2).double() / 255 for x in (edit, source)]
    wanted = [
        float(structural_similarity_index_measure(a[None], b[None], data_range=1.0))
        for a, b in zip(*tensors, strict=True)
    ]
    assert ssim.ssim(edit, source) == pytest.approx(wanted, abs=1e-9)
    assert ssim.ssim(source, source) == pytest.approx(1, abs=1e-12)


def test_ssim_of_flat_frames_is_its_closed_form():
    dark, light = np.full((1, 11, 11, 3), 51, np.uint8), np.full((1, 11, 11, 3), 102, np.uint8)
    assert ssim.ssim(light, dark) == pytest.approx((2 * 0.2 * 0.4 + 1e-4) / (0.04 + 0.16 + 1e-4))
    with pytest.raises(ValueError, match="11x11"):
        ssim.ssim(light[:, :10], dark[:, :10])


def test_background_ssim_sees_whole_windows_of_background_alone(clip):
    source, edit, mask = clip
    full = np.stack([ssim.ssim_map(a, b).mean(-1) for a, b in zip(edit, source, strict=True)])
    none = ssim.background_ssim(edit, source, np.zeros_like(mask))
    assert none[:, 1] == pytest.approx(30 * 38)
    assert none[:, 0] == pytest.approx(full[:, 5:-5, 5:-5].sum((1, 2)))
    rows = ssim.background_ssim(edit, source, mask)
    clear = np.ones(SIZE, bool)
    clear[5:35, 0:30] = False  # the mask's box and five pixels around it
    clear[:5], clear[-5:], clear[:, :5], clear[:, -5:] = False, False, False, False
    assert rows[:, 1] == pytest.approx(clear.sum())
    assert rows[:, 0] == pytest.approx(full[:, clear].sum(1))
    mirrored = np.where(mask[..., None], 255 - edit, edit)
    assert ssim.background_ssim(mirrored, source, mask) == pytest.approx(rows, abs=1e-9)


def test_background_ssim_of_one_window_and_of_none(clip):
    source, edit, mask = clip
    mask[:] = True
    mask[0, 10:21, 10:21] = False
    rows = ssim.background_ssim(edit, source, mask)
    assert rows[0] == pytest.approx([ssim.ssim_map(edit[0], source[0])[15, 15].mean(), 1])
    assert not rows[1:].any()
    mask[0, 12, 12] = True
    assert not ssim.background_ssim(edit, source, mask).any()


def test_flicker_is_the_mean_change_of_neighbours():
    edit = np.zeros((3, 4, 4, 3), np.uint8)
    edit[1] = 51
    edit[2] = 0
    edit[2, :2] = 255
    assert temporal_flicker(edit) == pytest.approx([1 - 51 / 255, 1 - (204 + 51) / 2 / 255])
    assert temporal_flicker(edit[[1, 1]]) == pytest.approx([1])


def test_published_lpips_is_that_of_torchmetrics(hub, clip):
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    source, edit, mask = clip
    model = squeezenet1_1()
    model.load_state_dict(perceptual._shipped(), strict=False)
    (hub / "checkpoints").mkdir()
    name = SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(model.state_dict(), hub / "checkpoints" / name)

    def theirs(a, b):
        return float(learned_perceptual_image_patch_similarity(2 * a - 1, 2 * b - 1, net_type="squeeze"))

    wanted = [theirs(masked(b, m), masked(a, m)) for a, b, m in zip(*clip, strict=True)]
    assert perceptual.background_lpips_five(edit, source, mask, CPU) == pytest.approx(wanted, abs=1e-6)
    assert perceptual.background_lpips_five(edit, source, np.ones_like(mask), CPU) == pytest.approx(0)
    wanted = [theirs(masked(b, 0 * m), masked(a, 0 * m)) for a, b, m in zip(*clip, strict=True)]
    assert perceptual.lpips(edit, source, "squeeze") == pytest.approx(wanted, abs=1e-6)
    assert perceptual.lpips(edit, source, "squeeze") == pytest.approx(perceptual.lpips(edit, source, "bundled"))


@pytest.mark.parametrize("net", perceptual.BACKBONES)
def test_a_backbone_that_cannot_be_had_is_one_line(net, hub, clip):
    with pytest.raises(ConnectionError) as failure:
        perceptual.lpips(*clip[:2], net)
    said = str(failure.value)
    assert "\n" not in said
    assert net in said
    assert perceptual.BACKBONES[net][1] in said
    assert "no route" in said
