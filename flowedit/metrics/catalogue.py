"""Every metric: its rows from a part of a clip, its value from all rows, what it needs, and how it is shown."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from flowedit.messages import InputError
from flowedit.metrics import perceptual, pixels, semantic, ssim, temporal
from flowedit.metrics.part import Need, Part, Tools
from flowedit.metrics.temporal import temporal_flicker

FRAMES_SHOWN = 4
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
    return pixels.squares(part.edit, part.source, ~part.require("mask"))


def _truth_errors(part: Part) -> np.ndarray:
    return pixels.squares(part.edit, part.require("truth"))


def _mse(rows: np.ndarray, _tools: Tools) -> float:
    return pixels.pooled_error(rows) / pixels.WHITE**2


def _psnr(rows: np.ndarray, _tools: Tools) -> float:
    return pixels.decibels(pixels.pooled_error(rows))


def _mean(rows: np.ndarray, _tools: Tools) -> float:
    return float(rows.mean())


def _share(scale: float, nothing: str) -> Callable[[np.ndarray, Tools], float]:
    """The join of rows (sum, number): scale x sum / number, ValueError with this line where there is nothing."""

    def join(rows: np.ndarray, _tools: Tools) -> float:
        total, number = rows.sum(0)
        if not number:
            raise InputError(nothing)
        return float(scale * total / number)

    return join


def _five(function: Callable[..., np.ndarray]) -> Callable[[Part], np.ndarray]:
    return lambda part: function(part.edit, part.source, part.require("mask"), part.tools.device)


def _lpips(net: perceptual.Net) -> Callable[[Part], np.ndarray]:
    return lambda part: perceptual.lpips(part.edit, part.source, net, part.tools.device)


def _flow(clip: np.ndarray, part: Part, back: bool = False) -> np.ndarray:
    if len(clip) == 1:
        return np.zeros((0, *clip.shape[1:3], 2), np.float32)
    first, second = (clip[1:], clip[:-1]) if back else (clip[:-1], clip[1:])
    return temporal.flow(first, second, part.tools.flow, part.tools.device)


def _forward(part: Part) -> np.ndarray:
    return _flow(part.frames.source, part)


def _backward(part: Part) -> np.ndarray:
    return _flow(part.frames.source, part, back=True)


def _warp_error(part: Part) -> np.ndarray:
    return temporal.warp_error(part.frames.edit, part.once(_forward), part.once(_backward))


def _warp_ssim(part: Part) -> np.ndarray:
    return temporal.warp_ssim(part.frames.edit, part.once(_forward))


def _flow_cosine(part: Part) -> np.ndarray:
    return temporal.flow_cosine(part.once(_forward), _flow(part.frames.edit, part))


def _images(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    return clip.load(part.tools.device).images(part.edit)


def _clip_t(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    return semantic.clip_t(part.once(_images), clip.load(part.tools.device).text(part.require("target")))


def _clip_t_edited(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    model = clip.load(part.tools.device)
    images = model.images(part.edit * part.require("mask")[..., None])
    return semantic.clip_t(images, model.text(part.require("target")))


def _structure_distance(part: Part) -> np.ndarray:
    from flowedit.pretrained import dino

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
    middles = [(2 * index + 1) * part.tools.total // (2 * FRAMES_SHOWN) - part.start for index in range(FRAMES_SHOWN)]
    return part.edit[[middle for middle in middles if 0 <= middle < part.new]]


def _five_acc(frames: np.ndarray, tools: Tools) -> dict[str, float]:
    from flowedit.pretrained import vlm

    if len(frames) != FRAMES_SHOWN or tools.questions is None:
        raise InputError(f"FiVE-Acc asks about {FRAMES_SHOWN} frames; the clip had {len(frames)} of them")
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
        lambda part: ssim.background_ssim(part.edit, part.source, part.require("mask")),
        _share(1, "no 11x11 window lies wholly in the background"),
        MASK,
    ),
    "background_psnr_five": Metric(_five(pixels.background_psnr_five), _mean, MASK),
    "background_mse_five": Metric(_five(pixels.background_mse_five), _mean, MASK),
    "background_ssim_five": Metric(_five(ssim.background_ssim_five), _mean, MASK),
    "background_lpips_five": Metric(_five(perceptual.background_lpips_five), _mean, MASK, LPIPS["squeeze"]),
    "truth_psnr": Metric(_truth_errors, _psnr, frozenset({"truth"})),
    "truth_lpips": Metric(
        lambda part: perceptual.lpips(part.edit, part.require("truth"), "bundled", part.tools.device),
        _mean,
        frozenset({"truth"}),
    ),
    "warp_error": Metric(_warp_error, _share(1e3, "every pixel of the source is occluded in the next frame"), PAIRS),
    "warp_ssim": Metric(_warp_ssim, _mean, PAIRS),
    "flow_cosine": Metric(_flow_cosine, _share(1, f"no pixel of the source moves by {temporal.MOVES} pixels"), PAIRS),
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


@dataclass(frozen=True)
class Head:
    """`better`: where the better values lie, or None for what is only told; `share`: values are zeros and ones."""

    label: str
    better: Literal["higher", "lower"] | None
    decimals: int
    share: bool = False

    @property
    def heading(self) -> str:
        """The label with an arrow towards the better values."""
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[self.better]
        return self.label + arrow


HEADS = {
    # PocketBench, against the exact truth
    "object_accuracy": Head("object accuracy", "higher", 2, share=True),
    "right_object": Head("right object of two", "higher", 2, share=True),
    "truth_psnr": Head("truth PSNR", "higher", 2),
    "truth_lpips": Head("truth LPIPS (bundled)", "lower", 3),
    "truth_psnr_composited": Head("truth PSNR, composited", "higher", 2),
    "truth_lpips_composited": Head("truth LPIPS (bundled), composited", "lower", 3),
    "mask_iou": Head("mask IoU", "higher", 2),
    "motion_error": Head("motion error", "lower", 3),
    # against the source
    "background_psnr": Head("background PSNR", "higher", 2),
    "background_psnr_composited": Head("background PSNR, composited", "higher", 2),
    "background_ssim": Head("background SSIM", "higher", 3),
    "background_mse": Head("background MSE", "lower", 5),
    "background_psnr_five": Head("background PSNR (FiVE)", "higher", 2),
    "background_ssim_five": Head("background SSIM (FiVE)", "higher", 3),
    "background_mse_five": Head("background MSE (FiVE)", "lower", 5),
    "background_lpips_five": Head("background LPIPS (FiVE)", "lower", 3),
    "psnr": Head("PSNR", "higher", 2),
    "ssim": Head("SSIM", "higher", 3),
    "mse": Head("MSE", "lower", 5),
    "lpips_bundled": Head("LPIPS (bundled)", "lower", 3),
    "lpips_alex": Head("LPIPS (alex)", "lower", 3),
    "lpips_vgg": Head("LPIPS (vgg)", "lower", 3),
    "lpips_squeeze": Head("LPIPS (squeeze)", "lower", 3),
    "structure_distance": Head("structure distance ×10³", "lower", 2),
    # along time
    "warp_error": Head("warp error ×10³", "lower", 2),
    "warp_ssim": Head("warp SSIM", "higher", 3),
    "flow_cosine": Head("flow cosine", "higher", 3),
    "temporal_flicker": Head("temporal flicker", "higher", 4),
    # against the prompt
    "clip_t": Head("CLIP-T", "higher", 2),
    "clip_t_edited": Head("CLIP-T of the edited part", "higher", 2),
    "clip_f_all": Head("CLIP-F, all pairs", "higher", 4),
    "clip_f_adjacent": Head("CLIP-F, adjacent", "higher", 4),
    "q_edit": Head("Q_edit", "higher", 2),
    "five_acc": Head("FiVE-Acc", "higher", 2),
    "five_acc_yes_no": Head("FiVE-Acc yes/no", "higher", 2, share=True),
    "five_acc_multiple_choice": Head("FiVE-Acc multiple choice", "higher", 2, share=True),
    "five_acc_union": Head("FiVE-Acc ∪", "higher", 2, share=True),
    "five_acc_intersection": Head("FiVE-Acc ∩", "higher", 2, share=True),
    # what it cost
    "network_evaluations": Head("network evaluations", None, 0),
    "seconds": Head("seconds", "lower", 1),
    "peak_memory_mib": Head("peak memory, MiB", "lower", 0),
}
"""In the order of a table's columns."""

COSTS = ("network_evaluations", "seconds", "peak_memory_mib")
"""What is told of a run and no quality of its edit."""
