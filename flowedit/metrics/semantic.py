"""Scores of meaning: what is made of the embeddings, keys and answers of other people's models; no model is here."""

import re
from collections.abc import Callable

import numpy as np

from flowedit.messages import InputError

YES_OR_NO = "Look at the video and answer with YES or NO only."
LETTER = "Look at the video and answer with the letter of the right option only."


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
    found = re.search(r"[^\W_]+", answer)
    return found.group().lower() if found else ""
