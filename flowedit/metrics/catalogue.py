"""Every metric that `score` knows: its rows from a part of a clip, its value from all rows, and what it needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from flowedit.metrics import flow, perceptual, pixels, semantic, ssim
from flowedit.metrics.flicker import temporal_flicker
from flowedit.metrics.part import Need, Part, Tools

ASKED = 4
"""Frames of an edit that FiVE-Acc shows: the middles of as many equal stretches."""


@dataclass(frozen=True)
class Metric:
    """`part` gives rows (n, ...), one a frame or a pair of neighbours; `join` makes the clip's value of all its rows.

    Metrics of the same part, or of the same part and join, share what these give; a join that gives many values does
    so by the metrics' names. download: what is fetched when it is first asked for.
    """

    part: Callable[[Part], np.ndarray]
    join: Callable[[np.ndarray, Tools], float | Mapping[str, float]]
    needs: frozenset[Need] = frozenset()
    download: str | None = None


def _errors(part: Part) -> np.ndarray:
    return pixels.squares(part.edit, part.source)


def _background_errors(part: Part) -> np.ndarray:
    return pixels.squares(part.edit, part.source, ~part.given("mask"))


def _truth_errors(part: Part) -> np.ndarray:
    return pixels.squares(part.edit, part.given("truth"))


def _mse(rows: np.ndarray, _tools: Tools) -> float:
    return pixels.pooled(rows) / pixels.WHITE**2


def _psnr(rows: np.ndarray, _tools: Tools) -> float:
    return pixels.decibels(pixels.pooled(rows))


def _mean(rows: np.ndarray, _tools: Tools) -> float:
    return float(rows.mean())


def _share(scale: float, nothing: str) -> Callable[[np.ndarray, Tools], float]:
    """The join of rows (sum, number): scale x sum / number, ValueError with this line where there is nothing."""

    def join(rows: np.ndarray, _tools: Tools) -> float:
        total, number = rows.sum(0)
        if not number:
            raise ValueError(nothing)
        return float(scale * total / number)

    return join


def _five(function: Callable[..., np.ndarray]) -> Callable[[Part], np.ndarray]:
    return lambda part: function(part.edit, part.source, part.given("mask"), part.tools.device)


def _lpips(net: perceptual.Net) -> Callable[[Part], np.ndarray]:
    return lambda part: perceptual.lpips(part.edit, part.source, net, part.tools.device)


def _flow(clip: np.ndarray, part: Part, back: bool = False) -> np.ndarray:
    if len(clip) == 1:
        return np.zeros((0, *clip.shape[1:3], 2), np.float32)
    first, second = (clip[1:], clip[:-1]) if back else (clip[:-1], clip[1:])
    return flow.flow(first, second, part.tools.flow, part.tools.device)


def _forward(part: Part) -> np.ndarray:
    return _flow(part.frames.source, part)


def _backward(part: Part) -> np.ndarray:
    return _flow(part.frames.source, part, back=True)


def _warp_error(part: Part) -> np.ndarray:
    return flow.warp_error(part.frames.edit, part.once(_forward), part.once(_backward))


def _warp_ssim(part: Part) -> np.ndarray:
    return flow.warp_ssim(part.frames.edit, part.once(_forward))


def _flow_cosine(part: Part) -> np.ndarray:
    return flow.flow_cosine(part.once(_forward), _flow(part.frames.edit, part))


def _images(part: Part) -> np.ndarray:
    from flowedit.integrations import clip

    return clip.load(part.tools.device).images(part.edit)


def _clip_t(part: Part) -> np.ndarray:
    from flowedit.integrations import clip

    return semantic.clip_t(part.once(_images), clip.load(part.tools.device).text(part.given("target")))


def _clip_t_edited(part: Part) -> np.ndarray:
    from flowedit.integrations import clip

    model = clip.load(part.tools.device)
    images = model.images(part.edit * part.given("mask")[..., None])
    return semantic.clip_t(images, model.text(part.given("target")))


def _structure_distance(part: Part) -> np.ndarray:
    from flowedit.integrations import dino

    model = dino.load(part.tools.device)
    return semantic.structure_distance(model.keys(part.source), model.keys(part.edit))


def _q_edit_rows(part: Part) -> np.ndarray:
    """(CLIP-T, WarpSSIM with the frame before) of each new frame; 0 for the first of a clip, which has none before."""
    pairs = part.once(_warp_ssim)
    return np.stack([part.once(_clip_t), np.pad(pairs, (part.new - len(pairs), 0))], 1)


def _q_edit(rows: np.ndarray, _tools: Tools) -> float:
    return semantic.q_edit(float(rows[1:, 1].mean()), float(rows[:, 0].mean()))


def _asked(part: Part) -> np.ndarray:
    """Those of the new frames, uint8, that FiVE-Acc shows; a clip of fewer frames shows some of them again."""
    middles = [(2 * index + 1) * part.tools.total // (2 * ASKED) - part.start for index in range(ASKED)]
    return part.edit[[middle for middle in middles if 0 <= middle < part.new]]


def _five_acc(frames: np.ndarray, tools: Tools) -> dict[str, float]:
    from flowedit.integrations import vlm

    if len(frames) != ASKED or tools.questions is None:
        raise ValueError(f"FiVE-Acc asks about {ASKED} frames; the clip had {len(frames)} of them")
    ask, asked = vlm.load(tools.device), tools.questions
    return semantic.five_acc(lambda question: ask(frames, question), asked.source, asked.target, asked.choice)


MASK: frozenset[Need] = frozenset({"mask"})
PAIRS: frozenset[Need] = frozenset({"pairs"})
TARGET: frozenset[Need] = frozenset({"target"})
CLIP, QWEN = "openai/clip-vit-large-patch14, 1.7 GB", "Qwen/Qwen2.5-VL-7B-Instruct, 16.6 GB"
LPIPS = {net: f"torchvision's {name.partition('_')[0]}, {size}" for net, (name, size) in perceptual.BACKBONES.items()}

METRICS = {
    "psnr": Metric(_errors, _psnr),
    "mse": Metric(_errors, _mse),
    "ssim": Metric(lambda part: ssim.ssim(part.edit, part.source), _mean),
    "lpips_bundled": Metric(_lpips("bundled"), _mean),
    "lpips_alex": Metric(_lpips("alex"), _mean, download=LPIPS["alex"]),
    "lpips_vgg": Metric(_lpips("vgg"), _mean, download=LPIPS["vgg"]),
    "lpips_squeeze": Metric(_lpips("squeeze"), _mean, download=LPIPS["squeeze"]),
    "structure_distance": Metric(_structure_distance, _mean, download="facebook/dino-vitb8, 0.3 GB"),
    "background_psnr": Metric(_background_errors, _psnr, MASK),
    "background_mse": Metric(_background_errors, _mse, MASK),
    "background_ssim": Metric(
        lambda part: ssim.background_ssim(part.edit, part.source, part.given("mask")),
        _share(1, "no 11x11 window lies wholly in the background"),
        MASK,
    ),
    "background_psnr_five": Metric(_five(pixels.background_psnr_five), _mean, MASK),
    "background_mse_five": Metric(_five(pixels.background_mse_five), _mean, MASK),
    "background_ssim_five": Metric(_five(ssim.background_ssim_five), _mean, MASK),
    "background_lpips_five": Metric(_five(perceptual.background_lpips_five), _mean, MASK, LPIPS["squeeze"]),
    "truth_psnr": Metric(_truth_errors, _psnr, frozenset({"truth"})),
    "truth_lpips": Metric(
        lambda part: perceptual.lpips(part.edit, part.given("truth"), "bundled", part.tools.device),
        _mean,
        frozenset({"truth"}),
    ),
    "warp_error": Metric(_warp_error, _share(1e3, "every pixel of the source is occluded in the next frame"), PAIRS),
    "warp_ssim": Metric(_warp_ssim, _mean, PAIRS),
    "flow_cosine": Metric(_flow_cosine, _share(1, f"no pixel of the source moves by {flow.MOVES} pixels"), PAIRS),
    "temporal_flicker": Metric(lambda part: temporal_flicker(part.frames.edit), _mean, PAIRS),
    "clip_t": Metric(_clip_t, _mean, TARGET, CLIP),
    "clip_t_edited": Metric(_clip_t_edited, _mean, TARGET | MASK, CLIP),
    "clip_f_all": Metric(_images, lambda rows, _tools: semantic.clip_f_all(rows), PAIRS, CLIP),
    "clip_f_adjacent": Metric(_images, lambda rows, _tools: float(semantic.clip_f_adjacent(rows).mean()), PAIRS, CLIP),
    "q_edit": Metric(_q_edit_rows, _q_edit, TARGET | PAIRS, CLIP),
} | {
    name: Metric(_asked, _five_acc, frozenset({"questions"}), QWEN)
    for name in (
        "five_acc",
        "five_acc_yes_no",
        "five_acc_multiple_choice",
        "five_acc_union",
        "five_acc_intersection",
    )
}
"""By the names of `heads.HEADS`. MSE is that of values in [0, 1]; what is not pooled is a mean over frames or pairs."""

DEFAULT = (
    "truth_psnr",
    "truth_lpips",
    "psnr",
    "ssim",
    "lpips_bundled",
    "background_psnr",
    "background_ssim",
    "background_psnr_five",
    "warp_error",
    "warp_ssim",
    "flow_cosine",
    "temporal_flicker",
)
"""What runs without a download."""

FIVE = (
    "structure_distance",
    "background_psnr_five",
    "background_lpips_five",
    "background_mse_five",
    "background_ssim_five",
    "clip_t",
    "clip_t_edited",
)
"""FiVE-Bench's protocol (Li et al. 2025)."""
