"""The two conventions and the types that cross a seam.

Axes: latents are float32 (B, C, F, H, W); frames are uint8 (F, H, W, 3) RGB. Adapters permute, nobody else.
Time: t in [0, 1], t = 1 is noise. z_t = (1 - t) x + t eps, u = dz/dt = eps - x. Grids run downwards, end at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:  # who asks what a model takes need not wait for torch
    import numpy as np
    import torch
    from torch import Tensor

Velocity = Callable[["Tensor", float], "Tensor"]
"""u = velocity(z, t): (B, C, F, H, W) float32 to the same; prompt and guidance are bound, rows are independent."""

Side = Literal["source", "target"]
"""Which of the two prompts."""

Scale = float | Sequence[float]
"""A guidance scale; of several, a velocity gives the rows of each after those of the one before, (K B, C, F, H, W)."""

Guidance = Literal["free", "embedded", "none"]
"""classifier-free | told to the network, in one row, unless there is a negative | it knows none, and scales are 1."""

Tokens = Sequence[int] | Sequence[Sequence[int]]
"""Indices of the tokens of one object in a prompt, or a list of those for each of several."""

Depths = Sequence[float] | Sequence[Sequence[float]]
"""Where attention is read, as fractions of the depth, or a list of those for each of several maps."""

Noise = Callable[[int, int], "Tensor"]
"""eps = noise(step, draw): one standard normal sample of the latent's shape, a pure function of its arguments."""

Mask: TypeAlias = "Tensor | Callable[[int], Tensor] | None"
"""(1, 1, F, H, W) in [0, 1], 1 means edit; a callable is asked for step i after that step's velocities."""

INSIDE = 0.5
"""From which value of a soft mask a site counts as edited; `preserve` pins the others to the source."""


@dataclass(frozen=True)
class Step:
    """What a callback hears after step `index` of `total`, which was taken at time t: the state z, and what led to it.

    z (1, C, F, H, W) is the clean latent in inversion_free, a state on the path elsewhere. `mask` (1, 1, F, H, W) is
    the step's, or None. `velocities` are the last ones of each side, (B, C, F, H, W), all draws along the first axis.
    """

    index: int
    total: int
    t: float
    z: Tensor
    check: Callable[[], None]
    """Synchronises the device and raises NumericalError if any state so far held a NaN or an Inf."""
    t_next: float = 0.0
    """The time of the state z."""
    mask: Tensor | None = None
    velocities: Mapping[Side, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    """Maps (rows, K, F, H, W) of K objects that the mask was made from: attention's by side, and `difference`."""
    shot: int = 1
    """The number of the shot that is edited, from 1."""
    clean: Callable[[], Tensor] | None = None
    """Gives the clean latent (1, C, F, H, W) that the state foresees; None in a step that an editor tells of."""


Callback: TypeAlias = "Callable[[Step], Tensor | None] | None"
"""An editor's: called after each step; a tensor is the state that it goes on with in place of its own."""


class Stop(Exception):
    """A callback stopped the edit at `z`, a clean latent; editors let it pass."""

    def __init__(self, z: Tensor, index: int, total: int) -> None:
        super().__init__(f"stopped after step {index + 1} of {total}")
        self.z, self.index, self.total = z, index, total


@dataclass(frozen=True)
class Geometry:
    """A valid shape: `frames` after padding from `source_frames`, `size` (height, width), latent (C, F, H, W)."""

    source_frames: int
    frames: int
    size: tuple[int, int]
    latent: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """A prompt's embedding (1, L, D) and, for each unpadded token, its (start, end) characters in the prompt.

    `extras`, each (1, ...), are what else a family tells its network of a prompt, such as a pooled vector. Compared by
    identity: the recorder keeps the maps of two conditionings apart even if their prompts are equal.
    """

    prompt: str
    embedding: Tensor
    spans: tuple[tuple[int, int], ...]
    extras: tuple[Tensor, ...] = ()


Pair = Callable[["Tensor", "Tensor", float, int], tuple["Tensor", "Tensor"]]
"""(u_src, u_tgt) = pair(q, p, t, step): both velocities of a step at once, each as its own `Velocity` gives it."""


class Guided(NamedTuple):
    """A prompt, the scale or scales of its guidance, and what it is guided away from, if anything."""

    prompt: Conditioning
    scale: Scale = 1.0
    negative: Conditioning | None = None


@dataclass(frozen=True, eq=False)
class Chosen:
    """The part of one window that a network is to see: its sites, and the indices of its tokens.

    sites: bool (1, 1, f, H, W), whole tokens; tokens: int64 (n,), ascending; both where the network is.
    """

    sites: Tensor
    tokens: Tensor


PairVelocity = Callable[["Tensor", "Tensor", float, Sequence[Chosen]], tuple["Tensor", "Tensor"]]
"""(u_src, u_tgt) = pair(q, p, t, chosen), what is chosen window by window.

The target is evaluated at the chosen sites, and is u_src at all others.
"""


class Frames(Protocol):
    """Frames or masks (F, H, W, ...) of which a slice `frames[a:b]` is an array, such as an array, or a file's.

    Asked for in ascending order none is read twice, and no more than a slice is held.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class Maps(Protocol):
    """Attention of the recorded tokens, gathered while velocities are evaluated, one map for each of K objects.

    Of several groups of blocks the maps of the K objects in each follow those of the group before.
    """

    def take(self, prompt: Conditioning) -> Tensor | None:
        """Mean over the calls since the last take, (rows, K, F, H, W) on the latent grid; None without a call."""


@dataclass(frozen=True)
class Share:
    """How much of the source's queries, keys or values the target takes: inside the mask and outside, 0 to 1 each.

    `steps` are the first and the end of those in which it does. A `fade` above 0 multiplies the share by
    1 / (1 + e^(fade (r - 0.7))), r from 0 in the first of them to 1 in the last (AdaEdit, arXiv 2603.21615).
    """

    inside: float = 0.0
    outside: float = 0.0
    steps: tuple[int, int] = (0, 0)
    fade: float = 0.0


@dataclass(frozen=True, eq=False)
class Control:
    """What the target's attention is made to do, in the velocities of `target`; those of `source` show it how.

    `grid` are the times of the edit, which tell a velocity's step. `mask()` gives the newest mask (1, 1, F, H, W), 1
    where is edited, `regions()` that of each of K objects (K, 1, F, H, W), both asked for before a velocity of the
    target, None where all is inside. `words` are each object's tokens in the target prompt, `edited` those not kept.
    """

    source: Conditioning | None
    target: Conditioning
    grid: Sequence[float]
    queries: Share = field(default_factory=Share)
    keys: Share = field(default_factory=Share)
    values: Share = field(default_factory=Share)
    blocks: tuple[float, float] = (0.0, 1.0)
    """From and to which fraction of the depth."""
    adapt: float = 0.0
    """Above 0 the shares are multiplied by var / adapt, at most 1: the variance over 10 steps of the foreseen clip."""
    anchor_words: float = 0.0
    anchor_sites: float = 0.0
    anchor_until: float = 0.0
    word_weight: float = 1.0
    apart: bool = False
    """Whether a site of one object does not see the words of another."""
    mask: Callable[[], Tensor | None] = lambda: None
    regions: Callable[[], Tensor | None] = lambda: None
    words: Sequence[Sequence[int]] = ()
    edited: Sequence[bool] = ()
    path: bool = False
    """Whether the source's velocities are all evaluated before the target's: then those of many times are held."""


class Attending(Protocol):
    """A control at work."""

    def window(self, start: int, end: int) -> None:
        """The next velocities are of these latent frames of the clip."""


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone before it runs: the shapes that it takes, and what it was trained on."""

    name: str
    notices: tuple[str, ...]
    """What a user should hear once: random weights, a precision that the model was not trained in, ..."""
    trained: bool
    """False for random weights."""
    trained_frames: int
    fps: int
    """Frames a second of the clips that it learned from, and so of a clip that it makes."""
    latent_size: tuple[int, int]
    """(height, width) of the latent of the clips that it learned from."""
    native_area: int
    """Pixels of a frame of those clips."""
    multiple: int
    """Sides of a frame are multiples of it, in pixels."""
    frames_per_latent: int
    any_size: bool = True
    """Whether another size of about that area is as good; False: it was trained at this one alone."""
    trained_step: int = 1
    """Its clips were n k + 1 frames long."""
    strength_shift: float | None = None
    """Strength s on its own grid starts at the time n s / (1 + (n - 1) s); None: at that share of the grid."""
    max_side: int | None = None
    """The longest side in pixels that it knows places for; None without a bound."""
    patch_frames: int = 1
    """Latent frames that one token of the network holds; a window begins and ends at multiples of it."""
    leading_latents: int = 0
    """Latent frames that encode() repeats in front and decode() drops."""
    max_latents: int | None = None
    """The most latent frames that one evaluation of the network knows places for; None without a bound."""
    shift: float = 1.0
    """What its grid of times is shifted by, as its checkpoint says, beyond what its knots hold; 1 for nothing."""
    mean: bool = False
    """Whether it gives mean velocities over intervals of time, as a `MeanBackbone`."""
    shift_growth: float = 0.0
    """What the logarithm of that shift grows by with each token of the video; see `shift_at`."""
    guidance: Guidance = "free"
    """How a guidance scale acts on it."""
    world: Mapping[str, Any] | None = None
    """What a checkpoint of the pocket world learned, its classes, grounds, motions, sizes and tints; else None."""

    @property
    def still(self) -> bool:
        """Whether it knows single pictures alone."""
        return self.max_latents == 1

    def shift_at(self, size: tuple[int, int], latents: int = 1) -> float:
        """shift e^(growth N) of a clip of `size` (height, width) pixels and so many latent frames, N tokens."""
        tokens = size[0] * size[1] // self.multiple**2 * -(-latents // self.patch_frames)
        return self.shift * math.exp(self.shift_growth * tokens)


class Backbone(Protocol):
    """A pretrained text-to-video model as a rectified flow; the only thing that is known above the seam."""

    spec: BackboneSpec
    device: torch.device
    """Where its networks run, and where its velocities take and give their states."""
    evaluations: int
    """Batch rows that went through the network so far."""

    @property
    def knots(self) -> Tensor:
        """Times the model was trained at, float64, descending from the largest."""

    def ready(self) -> None:
        """Reads the weights of its networks, which otherwise happens when each is first needed."""

    def geometry(self, frames: int, size: tuple[int, int]) -> Geometry: ...
    def encode(self, frames: Frames, progress: Callable[[int], None] | None = None) -> Tensor:
        """Frames uint8 to a latent on the host, a chunk of both on the device at a time."""

    def decode(self, z: Tensor) -> Iterator[np.ndarray]:
        """A latent, wherever it is, to chunks of frames."""

    def spans(self, prompt: str) -> tuple[tuple[int, int], ...]: ...
    def unreadable(self, prompt: str) -> tuple[tuple[int, int], ...]: ...
    def embed(self, prompt: str) -> Conditioning: ...
    def velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> Velocity:
        """Without a negative a "free" one goes away from the empty prompt; an "embedded" one tells its network g."""

    def record(
        self, tokens: Mapping[Conditioning, Tokens], blocks: Depths, normalise: str = "joint"
    ) -> AbstractContextManager[Maps]: ...
    def describe(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Evaluations:
    """What an edit sent through the network: batch rows, and the same with a row counted by its share of tokens."""

    rows: int = 0
    tokens: float = 0.0

    def __add__(self, other: Evaluations) -> Evaluations:
        return Evaluations(self.rows + other.rows, self.tokens + other.tokens)

    def __sub__(self, other: Evaluations) -> Evaluations:
        return Evaluations(self.rows - other.rows, self.tokens - other.tokens)


class RegionBackbone(Backbone, Protocol):
    """A backbone that evaluates source and target at once, the target in a region alone; a plug-in may be none."""

    @property
    def token_evaluations(self) -> float:
        """`evaluations`, but a row counts by the share of a whole row's tokens that it sent."""

    def choose(self, region: Tensor) -> Sequence[Chosen]:
        """The tokens that hold a site of the region, bool (1, 1, F, H, W); the host waits for their number."""

    def pair_velocity(self, source: Guided, target: Guided) -> PairVelocity:
        """Outside the chosen sites the target attends to the keys and values of the source."""


MeanVelocity = Callable[["Tensor", float, float], "Tensor"]
"""mean(z, t, t_next): the mean of u on the flow from z at t down to t_next, so that z + (t_next - t) mean is there.

(B, C, F, H, W) float32 to the same; at t_next = t it is u(z, t). (MeanFlow, Geng et al. 2025, arXiv 2505.13447, eq. 3.)
"""


class MeanBackbone(Backbone, Protocol):
    """A backbone whose network learned mean velocities, so that an edit takes few steps; it says `spec.mean`."""

    def mean_velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> MeanVelocity: ...


class AttendingBackbone(Backbone, Protocol):
    """A backbone whose attention can be controlled; a plug-in may be none."""

    def attend(self, control: Control) -> AbstractContextManager[Attending]:
        """Inside, the velocities of the control's target are made under it; afterwards all is as before."""


class Monitor(Protocol):
    """Where a job tells phases, progress and notices; it may have `start(text)` too, which hears once what will run."""

    def phase(self, name: str, total: int) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def notice(self, text: str) -> None: ...


class Quiet:
    """A monitor that says nothing."""

    def phase(self, name: str, total: int) -> None: ...
    def advance(self, count: int = 1) -> None: ...
    def notice(self, text: str) -> None: ...


QUIET = Quiet()
