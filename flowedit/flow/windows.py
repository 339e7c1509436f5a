"""Overlapping windows in time: a long clip through a backbone that sees a few frames at once, as one velocity."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from flowedit.flow.means import Means
from flowedit.messages import InputError
from flowedit.tensors import Tensor, torch
from flowedit.types import (
    Attending,
    AttendingBackbone,
    Backbone,
    Chosen,
    Conditioning,
    Control,
    Depths,
    Guided,
    Maps,
    MeanBackbone,
    MeanVelocity,
    PairVelocity,
    RegionBackbone,
    Scale,
    Tokens,
    Velocity,
)

Window = tuple[int, int]
"""[start, end), in latent frames of the clip."""

HOST = "cpu"


def places(length: int, window: int, overlap: float, multiple: int = 1) -> list[Window]:
    """The fewest windows of equal size that cover `length` latent frames and overlap by at least a share of one.

    Neighbours start at most `window` (1 - `overlap`) apart, a `multiple` at least; they are spread evenly, the first
    at 0, the last up to the end, all at multiples of `multiple`. A clip that fits one window has one, its own size.
    Raises ValueError for an overlap outside [0, 1), and for a length or a window that is no multiple.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"window_overlap {overlap} is outside [0, 1), a share of a window")
    if min(length, window, multiple) < 1 or length % multiple or window % multiple:
        raise InputError(f"{length} latents in windows of {window}: both must be positive multiples of {multiple}")
    if window >= length:
        return [(0, length)]
    apart = max(1, math.floor(window / multiple * (1 - overlap) + 1e-9))
    room = (length - window) // multiple
    last = -(-room // apart)
    starts = [multiple * (room * i // last) for i in range(last + 1)]
    return [(start, start + window) for start in starts]


def weights(windows: Sequence[Window]) -> list[Tensor]:
    """How much each window counts at each of its latent frames: float32 (1, 1, f, 1, 1), above 0, 1 in all together.

    Towards a neighbour it falls as a raised cosine, sin^2(pi/2 (k + 1/2) / n) over the n frames of their overlap;
    then all are divided by their sum. Where one window alone covers, exactly 1.
    """
    raw = []
    for i, (start, end) in enumerate(windows):
        rise = windows[i - 1][1] - start if i else 0
        fall = end - windows[i + 1][0] if i + 1 < len(windows) else 0
        k = torch.arange(end - start, dtype=torch.float64) + 0.5
        shape = torch.ones_like(k)
        for n, inwards in ((rise, k), (fall, (end - start) - k)):
            if n > 0:
                shape = shape * torch.sin(0.5 * math.pi * (inwards / n).clamp(max=1)) ** 2
        raw.append(shape)
    total = torch.zeros(max(end for _, end in windows), dtype=torch.float64)
    for (start, end), shape in zip(windows, raw, strict=True):
        total[start:end] += shape
    return [
        (shape / total[start:end]).float().view(1, 1, -1, 1, 1)
        for (start, end), shape in zip(windows, raw, strict=True)
    ]


class WindowSum:
    """sum_i w_i x_i on the host: one x_i of each window in turn, (B, C, f, H, W), to the clip's (B, C, F, H, W)."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows, self._weights = windows, weights(windows)
        self._whole: Tensor | None = None
        self._next = 0

    def add(self, part: Tensor) -> Tensor | None:
        """Add the next window's part; the clip's sum, float32, after the last one, and None before it."""
        if self._whole is None:
            shape = (*part.shape[:2], max(end for _, end in self._windows), *part.shape[3:])
            self._whole = torch.zeros(shape, dtype=torch.float32)
        start, end = self._windows[self._next]
        self._whole[:, :, start:end] += self._weights[self._next] * part.to(HOST, torch.float32)
        self._next += 1
        if self._next < len(self._windows):
            return None
        whole, self._whole, self._next = self._whole, None, 0
        return whole


def windowed(
    velocity: Velocity | MeanVelocity,
    windows: Sequence[Window],
    device: torch.device,
    after: Callable[[], None] = lambda: None,
    before: Callable[[int, int], None] = lambda start, end: None,
) -> Velocity:
    """u(z, t) = sum_i w_i velocity(z[:, :, a_i:b_i], t): a field on windows to one on the clip, which is on the host.

    (B, C, F, H, W) float32 to the same. One window at a time is on the device; `before` hears of each, and `after`
    is called after it. A velocity that treats each frame by itself is not changed.
    """

    def whole(z: Tensor, t: float, *until: float) -> Tensor:
        total, u = WindowSum(windows), None
        for start, end in windows:
            before(start, end)
            u = total.add(velocity(z[:, :, start:end].to(device), t, *until))
            after()
        assert u is not None
        return u

    return whole


class WindowMaps:
    """A clip's attention maps: the `WindowSum` of its windows' maps, taken after each window's velocity."""

    def __init__(self, maps: Maps, windows: Sequence[Window]) -> None:
        self._maps, self._windows = maps, windows
        self._open: dict[Conditioning, WindowSum] = {}
        self._means = Means()

    def window(self, prompt: Conditioning) -> None:
        """Take the maps of a window whose velocity was just evaluated; after the last one they are the clip's."""
        maps = self._maps.take(prompt)
        if maps is None:
            return
        whole = self._open.setdefault(prompt, WindowSum(self._windows)).add(maps)
        if whole is not None:
            self._means.add(prompt, whole)

    def take(self, prompt: Conditioning) -> Tensor | None:
        """Mean over the calls since the last take, (rows, K, F, H, W) float32 on the host; None without a call."""
        return self._means.take(prompt)


class WindowedBackbone:
    """A backbone with the velocities and maps of a clip longer than it sees at once; all else is the backbone's.

    Its `device` is the host: the states of a long clip stay there.
    """

    def __init__(self, backbone: Backbone, windows: Sequence[Window]) -> None:
        self._backbone, self._windows = backbone, windows
        self._clip_maps: WindowMaps | None = None
        self._attending: Attending | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    @property
    def device(self) -> torch.device:
        """The host."""
        return torch.device(HOST)

    def velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> Velocity:
        """As the backbone's, of the whole clip on the host, (B, C, F, H, W) float32 to the same."""
        return self._whole(self._backbone.velocity(prompt, guidance_scale, negative), prompt)

    def mean_velocity(
        self, prompt: Conditioning, guidance_scale: Scale = 1.0, negative: Conditioning | None = None
    ) -> MeanVelocity:
        """The same of a mean velocity."""
        inner = cast(MeanBackbone, self._backbone).mean_velocity(prompt, guidance_scale, negative)
        return cast(MeanVelocity, self._whole(inner, prompt))

    def _whole(self, inner: Velocity | MeanVelocity, prompt: Conditioning) -> Velocity:
        def after() -> None:
            if self._clip_maps is not None:
                self._clip_maps.window(prompt)

        def before(start: int, end: int) -> None:
            if self._attending is not None:
                self._attending.window(start, end)

        return windowed(inner, self._windows, self._backbone.device, after, before)

    @contextmanager
    def attend(self, control: Control) -> Iterator[Attending]:
        """As the backbone's, each window's control its own: what it takes is of that window, and so are its masks."""
        with cast(AttendingBackbone, self._backbone).attend(control) as self._attending:
            try:
                yield self._attending
            finally:
                self._attending = None

    def choose(self, region: Tensor) -> Sequence[Chosen]:
        """As the backbone's, of each window."""
        return [self._region_backbone.choose(region[:, :, start:end])[0] for start, end in self._windows]

    def pair_velocity(self, source: Guided, target: Guided) -> PairVelocity:
        """As the backbone's, of the whole clip on the host."""
        inner, device = self._region_backbone.pair_velocity(source, target), self._backbone.device

        def whole(q: Tensor, p: Tensor, t: float, chosen: Sequence[Chosen]) -> tuple[Tensor, Tensor]:
            sums, both = (WindowSum(self._windows), WindowSum(self._windows)), None
            for (start, end), part in zip(self._windows, chosen, strict=True):
                us = inner(q[:, :, start:end].to(device), p[:, :, start:end].to(device), t, (part,))
                both = [each.add(u) for each, u in zip(sums, us, strict=True)]
                if self._clip_maps is not None:
                    self._clip_maps.window(source.prompt)
                    self._clip_maps.window(target.prompt)
            assert both is not None
            u_src, u_tgt = both
            assert u_src is not None
            assert u_tgt is not None
            return u_src, u_tgt

        return whole

    @property
    def _region_backbone(self) -> RegionBackbone:
        return cast(RegionBackbone, self._backbone)

    @contextmanager
    def record(self, tokens: Mapping[Conditioning, Tokens], blocks: Depths, normalise: str = "joint") -> Iterator[Maps]:
        """As the backbone's, the maps of the whole clip on the host."""
        with self._backbone.record(tokens, blocks, normalise) as maps:
            self._clip_maps = WindowMaps(maps, self._windows)
            try:
                yield self._clip_maps
            finally:
                self._clip_maps = None


def over(backbone: Backbone, windows: Sequence[Window]) -> Backbone:
    """The backbone on a clip in these windows; the backbone itself where there is only one."""
    return backbone if len(windows) == 1 else cast(Backbone, WindowedBackbone(backbone, windows))
