"""A control at work: it takes attention over in some blocks, while velocities of its two prompts are evaluated."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor
from torch.overrides import TorchFunctionMode

from flowedit.flow.host import on_host
from flowedit.flow.rows import counterparts
from flowedit.messages import InputError
from flowedit.networks.attention import mask_part, video_part
from flowedit.networks.control.bend import Bend, bent_attention
from flowedit.networks.control.kept import Held, Seen
from flowedit.networks.recorder import masked_inputs, native
from flowedit.types import INSIDE, Conditioning, Control, Share

FORESEEN = 10
"""Steps over which the foreseen clip's variance is taken (KV-Lock, arXiv 2603.09657)."""

NAMES = ("queries", "keys", "values")
MIDDLE = 0.7
"""Where a fading share is a half, of its steps (AdaEdit, arXiv 2603.21615)."""

ALMOST = 1e-9


class Module(NamedTuple):
    """An attention module of a block: whether the video's keys are among its own, and how many text tokens lead, or,
    below 0, follow.
    """

    block: int
    module: torch.nn.Module
    video: bool
    words: bool
    text: int


@dataclass
class _Velocity:
    """A velocity under way."""

    prompt: Conditioning
    sides: Sequence[Conditioning]
    draws: range = range(0)
    """Those of the network call under way."""
    called: Sequence[Conditioning] = ()
    """The prompts of that call's rows."""
    making: Seen | None = None
    """What is gathered of the source."""
    seen: Seen | None = None
    """What the target looks at."""
    shares: Mapping[str, Tensor | float] = cast(Any, None)
    bend: Bend | None = None


class Controller:
    """Puts a control into the attention of the target's rows, and holds what it takes of the source's.

    `modules` are those of all blocks, of `depth` blocks; `patch` (frames, height, width) is how many latent sites a
    token holds. `watched()` says whether a recorder reads the evaluation under way: it then sees the attention as it
    was before logits are bent. Raises InputError for a range of blocks that holds none.
    """

    def __init__(
        self,
        control: Control,
        modules: Sequence[Module],
        depth: int,
        patch: tuple[int, int, int],
        watched: Callable[[], bool] = lambda: False,
    ) -> None:
        self._control, self._patch, self._watched = control, patch, watched
        first, end = (int(each * depth + ALMOST) for each in control.blocks)
        self.modules = [each for each in modules if first <= each.block < end]
        if not self.modules:
            raise InputError(
                f"attention.blocks {list(control.blocks)} holds none of the {depth} blocks: give a wider range"
            )
        shares = {"queries": control.queries, "keys": control.keys, "values": control.values}
        self._shares = {name: each for name, each in shares.items() if max(each.inside, each.outside) > 0}
        self._bends = max(control.anchor_words, control.anchor_sites) > 0 or control.word_weight != 1.0 or control.apart
        self._held = Held(control.path)
        self._words: list[Tensor] | None = None
        self._window: tuple[int, int] | None = None
        self._foreseen: dict[tuple[int, int] | None, list[Tensor]] = {}
        self._under_way: _Velocity | None = None

    def window(self, start: int, end: int) -> None:
        """The next velocities are of these latent frames of the clip."""
        self._window = start, end

    @contextmanager
    def velocity(self, prompt: Conditioning, sides: Sequence[Conditioning], t: float) -> Iterator[None]:
        """One velocity of a prompt at t, whose guidance has rows of these sides."""
        control, velocity = self._control, _Velocity(prompt, sides)
        if prompt is control.source and self._is_to_see(t):
            self._held.make_room(self._window)
            velocity.making = Seen(t, sides, self._wait)
        elif prompt is control.target:
            velocity.seen = self._held.shown(self._window, t) if self._shares else None
            velocity.shares = {} if velocity.seen is None else self._shares_at(t)
            velocity.bend = self._bend_at(t)
        active = velocity.making is not None or bool(velocity.shares) or velocity.bend is not None
        self._under_way = velocity if active else None
        try:
            yield
        finally:
            self._under_way = None
        if velocity.making is not None:
            self._held.keep(self._window, velocity.making)

    def rows(self, called: Sequence[Conditioning], draws: range) -> None:
        """The next network call has the rows of these draws for each of these prompts, one after the other."""
        if self._under_way is not None:
            self._under_way.called, self._under_way.draws = called, draws

    def foresaw(self, prompt: Conditioning, clean: Callable[[], Tensor]) -> None:
        """What a velocity foresees of the clip, z - t u, (B, C, F, H, W)."""
        if self._control.adapt and prompt is self._control.target:
            history = self._foreseen.setdefault(self._window, [])
            history.append(clean().mean(0))
            del history[:-FORESEEN]

    @property
    def active(self) -> bool:
        """Whether the evaluation under way is one that the control has a say in."""
        return self._under_way is not None

    def attend(
        self, place: Module, q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None = None
    ) -> Tensor:
        """The attention's output (B, H, N, d) under the control."""
        now = self._under_way
        assert now is not None
        if place.video and now.making is not None:
            self._see(now, place, q, k, v)
        if place.video and now.shares:
            q, k, v = (self._mixed(now, place, *each) for each in zip(NAMES, (q, k, v), strict=True))
        bend = now.bend if place.words and now.called[-1] is now.prompt else None
        if bend is None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        others = len(q) - len(now.draws)
        first, last, parts = slice(others), slice(others, None), []
        if self._watched():
            parts.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)[first])
        elif others:
            own = mask_part(mask, first)
            parts.append(F.scaled_dot_product_attention(q[first], k[first], v[first], attn_mask=own, scale=scale))
        with torch._C.DisableTorchFunction():  # a recorder of these modules has seen what it is to see
            own = mask_part(mask, last)
            parts.append(bent_attention(q[last], k[last], v[last], scale, place.text, bend, own))
        return torch.cat(parts)

    def _wait(self, part: Tensor) -> Tensor:
        """A part where it waits: on the host where more than one does, in a window of several or on a path.

        A path is not pinned: it may be most of the host's memory, and the system could take none of that back.
        """
        if self._control.path:
            return part.cpu()
        return part if self._window is None else on_host(part)

    def _is_to_see(self, t: float) -> bool:
        """Whether the target may look at the source of this time, and no other of this time is held."""
        if self._held.has(self._window, t):
            return False
        grid = self._control.grid
        for each in self._shares.values():
            first, end = each.steps
            if self._control.path and first < end and grid[end] - ALMOST <= t <= grid[first] + ALMOST:
                return True
            if not self._control.path and first <= self._step(t) < end:
                return True
        return False

    def _step(self, t: float) -> int:
        """The step in whose interval t_next < t <= t_step this time is."""
        grid = self._control.grid
        later = [i for i in range(len(grid) - 1) if t <= grid[i] + ALMOST]
        return max(later, default=0)

    def _shares_at(self, t: float) -> dict[str, Tensor | float]:
        """The share of each thing that is taken at t: a number, or one for each token, (n, 1)."""
        step = self._step(t)
        found: dict[str, Tensor | float] = {}
        for name, each in self._shares.items():
            if not each.steps[0] <= step < each.steps[1]:
                continue
            factor = faded(each, step)
            if each.inside == each.outside and not self._control.adapt:
                found[name] = factor * each.inside
                continue
            inside = self._inside(self._control.mask())
            outer, inner = factor * each.outside, factor * each.inside
            share = inner if inside is None else torch.where(inside[0], inner, outer)[:, None]
            found[name] = share * self._adapted(inside) if self._control.adapt else share
        return {name: share for name, share in found.items() if isinstance(share, Tensor) or share > 0}

    def _adapted(self, inside: Tensor | None) -> Tensor | float:
        """min(1, var / adapt): the variance of what the last steps foresaw, inside the mask; 0 of one step."""
        history = self._foreseen.get(self._window, [])
        if len(history) < 2:
            return 0.0
        spread = torch.stack(history).var(0).mean(0)
        if inside is not None:
            f, h, w = self._patch
            held = reduce(spread, "(f i) (h j) (w k) -> (f h w)", "mean", i=f, j=h, k=w)
            weight = inside[0].to(held.device, held.dtype)
            variance = (held * weight).sum() / weight.sum().clamp_min(1.0)
        else:
            variance = spread.mean()
        return (variance / self._control.adapt).clamp(max=1.0)

    def _bend_at(self, t: float) -> Bend | None:
        control = self._control
        anchored = t >= control.anchor_until - ALMOST and max(control.anchor_words, control.anchor_sites) > 0
        if not self._bends or not (anchored or control.word_weight != 1.0 or control.apart):
            return None
        sites = self._inside(control.regions())
        if sites is None:
            return None
        return Bend(
            sites=sites,
            words=self._words_on(sites.device),
            unpadded=len(control.target.spans),
            edited=control.edited,
            anchor_words=control.anchor_words if anchored else 0.0,
            anchor_sites=control.anchor_sites if anchored else 0.0,
            weight=control.word_weight,
            apart=control.apart,
        )

    def _words_on(self, device: torch.device) -> list[Tensor]:
        """The tokens of each object's words, sent to the device once: a copy in each step would make the host wait."""
        if not self._words or self._words[0].device != device:
            self._words = [torch.tensor(list(each), dtype=torch.int64, device=device) for each in self._control.words]
        return self._words

    def _inside(self, masks: Tensor | None) -> Tensor | None:
        """The tokens (K, n) bool that hold a site of each mask (K, 1, F, H, W), in this window; None without one."""
        if masks is None:
            return None
        masks = masks if self._window is None else masks[:, :, slice(*self._window)]
        f, h, w = self._patch
        held = reduce(masks, "k 1 (f i) (h j) (w l) -> k (f h w)", "max", i=f, j=h, l=w) >= INSIDE
        return held.to(self._control.target.embedding.device)

    def _see(self, now: _Velocity, place: Module, q: Tensor, k: Tensor, v: Tensor) -> None:
        assert now.making is not None
        size = len(now.draws)
        for i, side in enumerate(now.called):
            row = _row(now.sides, side)
            for name, each in zip(NAMES, (q, k, v), strict=True):
                if name in self._shares:
                    now.making.add(row, place.block, name, each[i * size : (i + 1) * size, :, video_part(place.text)])

    def _mixed(self, now: _Velocity, place: Module, name: str, own: Tensor) -> Tensor:
        """(1 - s) own + s source's of the video's tokens; the text's stay."""
        if name not in now.shares or now.seen is None:
            return own
        share = now.shares[name]
        if isinstance(share, Tensor):
            share = share.to(own.device, own.dtype)
        looks, size, parts = counterparts(now.seen.sides, now.sides), len(now.draws), []
        for i, side in enumerate(now.called):
            row, rows = looks[_row(now.sides, side)], own[i * size : (i + 1) * size]
            theirs = now.seen.of(row, place.block, name, now.draws, own)
            video, mixed = video_part(place.text), rows.clone()
            mixed[:, :, video] = torch.lerp(rows[:, :, video], theirs, share)
            parts.append(mixed)
        return torch.cat(parts)


def _row(sides: Sequence[Conditioning], side: Conditioning) -> int:
    """The place of a prompt among the rows; the last, where it is there twice."""
    return max(i for i, each in enumerate(sides) if each is side)


def faded(share: Share, step: int) -> float:
    """1 / (1 + e^(fade (r - 0.7))), r from 0 to 1 over the share's steps; 1 without fading."""
    first, end = share.steps
    r = (step - first) / max(1, end - 1 - first)
    return 1.0 if share.fade == 0.0 else 1.0 / (1.0 + math.exp(share.fade * (r - MIDDLE)))


class _Hold(TorchFunctionMode):
    def __init__(self, controller: Controller, place: Module) -> None:
        super().__init__()
        self._controller, self._place = controller, place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        return self._controller.attend(self._place, *masked_inputs(args, kwargs))


@contextmanager
def controlling(controller: Controller) -> Iterator[Controller]:
    """Send the attention of the controller's modules through it; the hooks are removed whatever happens inside."""
    open_holds: list[_Hold] = []

    def enter(place: Module) -> Callable[..., None]:
        def hook(module: Any, args: Any) -> None:
            if controller.active:
                open_holds.append(_Hold(controller, place))
                open_holds[-1].__enter__()

        return hook

    def leave(module: Any, args: Any, output: Any) -> None:
        if open_holds:
            open_holds.pop().__exit__(None, None, None)

    hooks = [each.module.register_forward_pre_hook(enter(each)) for each in controller.modules]
    hooks += [each.module.register_forward_hook(leave, always_call=True) for each in controller.modules]
    try:
        with native([each.module for each in controller.modules]):
            yield controller
    finally:
        for hook in hooks:
            hook.remove()
