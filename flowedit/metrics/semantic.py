"""Scores of meaning, from the embeddings, keys and answers of published models, which `pretrained` loads."""

import re
from collections.abc import Callable

import numpy as np

from flowedit.messages import InputError
from flowedit.metrics.catalogue import MASK, METRICS, PAIRS, TARGET, Metric
from flowedit.metrics.part import Part, Tools
from flowedit.metrics.temporal import warp_ssim_rows

YES_OR_NO = "Look at the video and answer with YES or NO only."
LETTER = "Look at the video and answer with the letter of the right option only."

FRAMES_SHOWN = 4
"""Frames of an edit that FiVE-Acc shows: the middles of as many equal stretches."""


def clip_t(images: np.ndarray, text: np.ndarray) -> np.ndarray:
    """CLIPScore of each frame, 100 max(cos(image, text), 0); higher is better.

    images: unit vectors (n, d); text: a unit vector (d,); the result is (n,), in 0 ... 100. Hessel et al. 2021, with
    the factor of torchmetrics, which floors the mean over the frames where this floors each frame.
    """
    return 100 * np.maximum(images @ text, 0)


def clip_f_all(images: np.ndarray) -> float:
    """Mean cosine over all pairs of different frames, (|sum e|^2 - n) / (n (n - 1)); in -1 ... 1, higher is better.

    images: unit vectors e (n, d). Raises ValueError below two frames. CLIP-F of TGVE (Wu et al. 2023).
    """
    n = len(images)
    if n < 2:
        raise InputError(f"CLIP-F compares frames with each other: it takes two or more, not {n}")
    total = images.sum(0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))


def clip_f_adjacent(images: np.ndarray) -> np.ndarray:
    """Cosine of each frame with the next; in -1 ... 1, higher is better.

    images: unit vectors (n, d); the result is (n - 1,). CLIP-F of V2VBench (Sun et al. 2024).
    """
    return np.einsum("nd,nd->n", images[:-1], images[1:])


def structure_distance(source_keys: np.ndarray, edit_keys: np.ndarray) -> np.ndarray:
    """10^3 mean_ij (S_ij(source) - S_ij(edit))^2 of each frame, S_ij = cos(k_i, k_j); 0 for equal, lower is better.

    keys: (n, tokens, d), of a DINO's last layer; the result is (n,), in 0 ... 4000. Raises ValueError for keys of
    different shapes. Splice (Tumanyan et al. 2022), with the factor of PIE-Bench (Ju et al. 2024).
    """
    if source_keys.shape != edit_keys.shape:
        raise InputError(f"keys of shape {source_keys.shape} cannot be compared with {edit_keys.shape}")
    pairs = zip(source_keys, edit_keys, strict=True)
    return np.array([1e3 * np.square(_similarity(a) - _similarity(b)).mean(dtype=np.float64) for a, b in pairs])


def q_edit(warp_ssim: float, clip_t: float) -> float:
    """WarpSSIM x CLIP-T, an edit that keeps the motion and follows the prompt; in 0 ... 100, higher is better.

    warp_ssim: a mean in 0 ... 1; clip_t: a mean of `clip_t`. RAVE (Kara et al. 2024); FlowDirector (Li et al. 2025).
    """
    return warp_ssim * clip_t


def five_acc(ask: Callable[[str], str], source: str, target: str, choice: str) -> dict[str, float]:
    """FiVE-Acc of one edit from a vision-language model's answers: zeros and ones, and their mean; higher is better.

    five_acc_yes_no: the source's question is answered no, the target's yes (the target's alone where the source's is
    empty); five_acc_multiple_choice: the choice is answered b, the target's option in FiVE; five_acc_union,
    five_acc_intersection: either, both; five_acc: the mean of the four. What counts of an answer is its first word, in
    any case. `ask` takes a question; what it raises is passed on. FiVE (Li et al. 2025).
    """
    old = not source.strip() or _word(ask(f"{YES_OR_NO} {source}")) == "no"
    new = _word(ask(f"{YES_OR_NO} {target}")) == "yes"
    yes_no, right = old and new, _word(ask(f"{LETTER} {choice}")) == "b"
    parts = {
        "five_acc_yes_no": float(yes_no),
        "five_acc_multiple_choice": float(right),
        "five_acc_union": float(yes_no or right),
        "five_acc_intersection": float(yes_no and right),
    }
    return {"five_acc": sum(parts.values()) / 4, **parts}


def _similarity(keys: np.ndarray) -> np.ndarray:
    unit = keys / np.maximum(np.linalg.norm(keys, axis=-1, keepdims=True), 1e-8)
    return unit @ unit.T


def _word(answer: str) -> str:
    """The first word of an answer in small letters: "b" of "(B) a panda", but not of "Bear"."""
    word = re.search(r"[^\W_]+", answer)
    return word.group().lower() if word else ""


def _images(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    return clip.load(part.tools.device).images(part.edit)


def _clip_t(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    return clip_t(part.once(_images), clip.load(part.tools.device).text(part.require("target")))


def _clip_t_edited(part: Part) -> np.ndarray:
    from flowedit.pretrained import clip

    model = clip.load(part.tools.device)
    images = model.images(part.edit * part.require("mask")[..., None])
    return clip_t(images, model.text(part.require("target")))


def _clip_f_all(rows: np.ndarray, _tools: Tools) -> float:
    return clip_f_all(rows)


def _clip_f_adjacent(rows: np.ndarray, _tools: Tools) -> float:
    return float(clip_f_adjacent(rows).mean())


def _structure_distance(part: Part) -> np.ndarray:
    from flowedit.pretrained import dino

    return structure_distance(part.once_a_source(_source_keys), dino.load(part.tools.device).keys(part.edit))


def _source_keys(part: Part) -> np.ndarray:
    from flowedit.pretrained import dino

    return dino.load(part.tools.device).keys(part.source)


def _q_edit_rows(part: Part) -> np.ndarray:
    """(CLIP-T, WarpSSIM with the frame before) of each new frame; 0 for the first of a clip, which has none before."""
    pairs = part.once(warp_ssim_rows)
    return np.stack([part.once(_clip_t), np.pad(pairs, (part.new - len(pairs), 0))], 1)


def _q_edit(rows: np.ndarray, _tools: Tools) -> float:
    return q_edit(float(rows[1:, 1].mean()), float(rows[:, 0].mean()))


def _frames_shown(part: Part) -> np.ndarray:
    """Those of the new frames, uint8, that FiVE-Acc shows; a clip of fewer frames shows some of them again."""
    middles = [(2 * index + 1) * part.tools.total // (2 * FRAMES_SHOWN) - part.start for index in range(FRAMES_SHOWN)]
    return part.edit[[middle for middle in middles if 0 <= middle < part.new]]


def _five_acc(frames: np.ndarray, tools: Tools) -> dict[str, float]:
    from flowedit.pretrained import vlm

    questions = tools.questions
    if len(frames) != FRAMES_SHOWN or questions is None:
        raise InputError(f"FiVE-Acc asks about {FRAMES_SHOWN} frames; the clip had {len(frames)} of them")
    ask = vlm.load(tools.device)
    return five_acc(lambda question: ask(frames, question), questions.source, questions.target, questions.choice)


CLIP, QWEN = "openai/clip-vit-large-patch14, 1.7 GB", "Qwen/Qwen2.5-VL-7B-Instruct, 16.6 GB"

METRICS.add(
    "structure_distance",
    Metric(
        "structure distance ×10³",
        "source",
        "lower",
        part=_structure_distance,
        download="facebook/dino-vitb8, 0.3 GB",
        five=True,
    ),
)
METRICS.add(
    "clip_f_all",
    Metric(
        "CLIP-F, all pairs", "time", "higher", decimals=4, part=_images, join=_clip_f_all, needs=PAIRS, download=CLIP
    ),
)
METRICS.add(
    "clip_f_adjacent",
    Metric(
        "CLIP-F, adjacent",
        "time",
        "higher",
        decimals=4,
        part=_images,
        join=_clip_f_adjacent,
        needs=PAIRS,
        download=CLIP,
    ),
)
METRICS.add("clip_t", Metric("CLIP-T", "prompt", "higher", part=_clip_t, needs=TARGET, download=CLIP, five=True))
METRICS.add(
    "clip_t_edited",
    Metric(
        "CLIP-T of the edited part",
        "prompt",
        "higher",
        part=_clip_t_edited,
        needs=TARGET | MASK,
        download=CLIP,
        five=True,
    ),
)
METRICS.add(
    "q_edit", Metric("Q_edit", "prompt", "higher", part=_q_edit_rows, join=_q_edit, needs=TARGET | PAIRS, download=CLIP)
)
for _name, _label, _share in (
    ("five_acc", "FiVE-Acc", False),
    ("five_acc_yes_no", "FiVE-Acc yes/no", True),
    ("five_acc_multiple_choice", "FiVE-Acc multiple choice", True),
    ("five_acc_union", "FiVE-Acc ∪", True),
    ("five_acc_intersection", "FiVE-Acc ∩", True),
):
    METRICS.add(
        _name,
        Metric(
            _label,
            "prompt",
            "higher",
            share=_share,
            part=_frames_shown,
            join=_five_acc,
            needs=frozenset({"questions"}),
            download=QWEN,
        ),
    )
