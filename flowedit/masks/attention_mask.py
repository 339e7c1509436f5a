"""The soft mask of each step from the attention of the objects' words, or from other maps that grow with the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Literal

from flowedit.masks.growth import growth
from flowedit.masks.maps import outstanding, pool, sharpened, smooth_time, strength, threshold
from flowedit.masks.options import MaskOptions
from flowedit.masks.shapes import apart, close, contest, grow, union
from flowedit.tensors import Tensor, torch
from flowedit.types import INSIDE

Role = Literal["sites", "near", "sharpens"]
"""What a map is for: it has sites of its own; it has sites near those alone; it sharpens the words' maps."""

SITES: Set[Role] = frozenset({"sites"})

SideMaps = tuple[Tensor, list[int], Set[Role]]
"""Maps (rows, K, F, H, W), the objects that they are of, and what they are for."""


class AttentionMask:
    """The mask of each step from the recorder's maps; remembers what smoothing over steps needs.

    `sides`: for source and target, a function that gives the newest maps (rows, K, F, H, W), one for each object, or
    None before any; `shown`: for each side the objects of its maps, all K by default; one may have several. An object
    has the sites of any; where objects meet, the first map of it decides (`contest`). `roles`: for each side what its
    maps are for. Of one that is "near" an object has only the sites within `mask.dependents` of its others; one that
    "sharpens" is a factor of the edited objects' other maps (`sharpened`). `kept`: for each object whether it is kept:
    it takes sites from the others and is not edited. `user`: a user's soft mask (1, 1, F, H, W), edited too, over kept
    objects as well. The options' sizes are in sides of the latent, of which the shorter one has `side` sites; means
    over time count the latent frames `own`. After the edit, `vote()` is the mask of the sites that most steps had,
    later ones first, and `object_votes()` that of each object.
    """

    def __init__(
        self,
        sides: Sequence[Callable[[], Tensor | None]],
        options: MaskOptions,
        side: int = 1,
        *,
        own: slice = slice(None),
        user: Tensor | None = None,
        kept: Sequence[bool] = (False,),
        shown: Sequence[Sequence[int]] | None = None,
        roles: Sequence[Set[Role]] | None = None,
    ) -> None:
        self._sides, self._options = list(sides), options
        self._pool, self._decay = odd(options.pool * side), options.decay / side
        self._close, self._grow = options.close * side, growth(options.grow).times(side)
        self._own, self._user = own, user
        self._objects = len(kept)
        self._shown = [list(range(len(kept)))] * len(self._sides) if shown is None else [list(each) for each in shown]
        self._roles = [SITES] * len(self._sides) if roles is None else list(roles)
        self._reach = options.dependents * side
        self._edited = [k for k, stays in enumerate(kept) if not stays]
        self._maps: list[Tensor | None] = [None] * len(self._sides)
        self._pending: list[list[Tensor]] = [[] for _ in self._sides]
        self._votes: Tensor | None = None
        self._steps = 0

    def __call__(self, step: int) -> Tensor:
        """The soft mask (1, 1, F, H, W) of this step, all edited objects together, by its evaluations' mean."""
        self.gather()
        for i, new in enumerate(self._pending):
            if new:
                self._maps[i] = self._smooth(i, torch.stack(new).mean(0))
                new.clear()
        hard = self._hard(self._maps)
        self._steps += 1
        self._votes = hard if self._votes is None else self._votes + self._steps * hard
        return self._together(hard)

    def weights(self) -> Tensor:
        """W_k = M_k / M of the newest maps, (K, 1, F, H, W) for the edited objects, and the user's share last.

        M is their sum joined with the user's mask; where it is 0 all count alike. The step's mask is not changed by it.
        """
        soft = self._of_edited(apart(self._hard(self.newest()), self._decay))
        if self._user is not None:
            soft = torch.cat([soft, (self._user - soft.sum(0, keepdim=True)).clamp_min(0.0)])
        total = soft.sum(0, keepdim=True)
        return torch.where(total > 0, soft / total, torch.full_like(soft, 1.0 / len(soft)))

    def now(self) -> tuple[Tensor, Tensor] | None:
        """The soft mask (1, 1, F, H, W) and each object's hard sites (K, 1, F, H, W) by the newest maps.

        None before any. No step's mask is changed by it.
        """
        newest = self.newest()
        if all(maps is None for maps in newest):
            return None
        hard = self._hard(newest)
        return self._together(hard), hard

    def vote(self) -> Tensor | None:
        """The soft mask of the sites that have at least half of the steps' votes; None before the first step.

        Step n of the edit has n votes: the later a step, the less noise its maps have seen. Ours.
        """
        hard = self._elected()
        return None if hard is None else self._together(hard)

    def object_votes(self) -> Tensor | None:
        """The same for each object, kept ones too, (K, 1, F, H, W); no two share a hard site."""
        hard = self._elected()
        return None if hard is None else apart(hard, self._decay)

    def state(self) -> dict[str, Tensor]:
        """All that it remembers between two steps, once the newest maps are gathered; `restore` takes it back."""
        kept = {f"maps-{i}": maps for i, maps in enumerate(self._maps) if maps is not None}
        kept |= {f"pending-{i}-{j:05}": new for i, each in enumerate(self._pending) for j, new in enumerate(each)}
        votes = {} if self._votes is None else {"votes": self._votes}
        return {**kept, **votes, "steps": torch.tensor(self._steps)}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Remember what another one knew, on this device."""
        held = {name: tensor.to(device) for name, tensor in state.items()}
        self._maps = [held.get(f"maps-{i}") for i in range(len(self._sides))]
        self._pending = [
            [held[name] for name in sorted(held) if name.startswith(f"pending-{i}-")] for i in range(len(self._sides))
        ]
        self._votes, self._steps = held.get("votes"), int(state["steps"])

    def _together(self, hard: Tensor) -> Tensor:
        mask = self._of_edited(apart(hard, self._decay)).sum(0, keepdim=True)
        return mask if self._user is None else torch.maximum(mask, self._user)

    def _of_edited(self, objects: Tensor) -> Tensor:
        """The masks of edited objects alone. A list as an index would be copied to the device, and waited for."""
        return torch.stack([objects[k] for k in self._edited]) if self._edited else objects[:0]

    def _elected(self) -> Tensor | None:
        """Hard sites of most steps: those of all edited objects, each to the one with most votes, then of kept ones."""
        if self._votes is None:
            return None
        changed = torch.zeros_like(self._votes[:, :1, :1, :1, :1], dtype=torch.bool)
        for k in self._edited:
            changed[k].fill_(True)
        votes, enough = self._votes, self._steps * (self._steps + 1) / 4
        ours = (votes * changed).sum(0, keepdim=True) >= enough
        most = contest((ours & changed).to(torch.float32), votes)
        kept = ~ours & ~changed & (votes >= enough)
        return torch.maximum(most, contest(kept.to(torch.float32), votes))

    def _hard(self, sides: Sequence[Tensor | None]) -> Tensor:
        """The hard sites of each object, (K, 1, F, H, W), no two of one site."""
        known = self._known(sides)
        shape = (1, self._objects, *known[0][0].shape[2:])
        hard, strengths = (torch.zeros(shape, device=known[0][0].device) for _ in range(2))
        # The source's maps decide, last here: the target's words look for their objects in what is not there yet.
        for maps, places, above in reversed(self._above(known)):
            own, strong = union([above]), union([strength(maps, self._pool, self._own)])
            for i, k in reversed(list(enumerate(places))):
                hard[:, k] = torch.maximum(hard[:, k], own[:, i])
                strengths[:, k] = strong[:, i]
        whole = grow(close(hard, self._close), self._grow)
        for maps, places, _ in (each for each in known if "near" in each[2]):
            held = whole if self._user is None else torch.maximum(whole, (self._user >= INSIDE).to(whole.dtype))
            found = outstanding(pool(union([maps]), self._pool), held.amax(1, keepdim=True), self._own)
            around = grow(held, self._reach)
            for i, k in enumerate(places):
                whole[:, k] = torch.maximum(whole[:, k], found[:, i] * around[:, k])
        return contest(whole.transpose(0, 1), strengths.transpose(0, 1))

    def _known(self, sides: Sequence[Tensor | None]) -> list[SideMaps]:
        every = zip(sides, self._shown, self._roles, strict=True)
        return [(maps, places, roles) for maps, places, roles in every if maps is not None]

    def _above(self, known: Sequence[SideMaps]) -> list[tuple[Tensor, list[int], Tensor]]:
        """The maps that have sites of their own, their objects, and 1 where they exceed their threshold."""
        change = next((maps[:, :1] for maps, _, roles in known if "sharpens" in roles), None)
        options, found = self._options, []
        for maps, places, roles in (each for each in known if "sites" in each[2]):
            fine, size = maps, self._pool
            if change is not None and "sharpens" not in roles:
                pooled, size = pool(maps, self._pool), 1
                sharp = sharpened(pooled, change, options.sharpen, self._own)
                columns = [sharp[:, i] if k in self._edited else pooled[:, i] for i, k in enumerate(places)]
                fine = torch.stack(columns, dim=1)
            above = threshold(fine, options.threshold, options.quantile, size, self._own, options.level)
            found.append((maps, places, above))
        return found

    def newest(self) -> list[Tensor | None]:
        """The last maps of each side, of whom the mask was made, smoothed; None before any."""
        self.gather()
        return [self._smooth(i, new[-1]) if new else self._maps[i] for i, new in enumerate(self._pending)]

    def gather(self) -> None:
        """Note each side's new maps: a step's mask is of all its evaluations, `weights` of the newest."""
        for new, side in zip(self._pending, self._sides, strict=True):
            if (maps := side()) is not None:
                new.append(maps)

    def _smooth(self, side: int, new: Tensor) -> Tensor:
        """New maps of a side, smoothed over frames and with those of the steps before."""
        old, options = self._maps[side], self._options
        if options.over_draws == "mean":
            new = new.mean(0, keepdim=True)
        new = smooth_time(new, options.smooth_frames)
        if old is None or old.shape != new.shape:
            return new
        return options.smooth_steps * old + (1.0 - options.smooth_steps) * new


def odd(size: float) -> int:
    """The odd number nearest to a window's size, at least 1."""
    return max(1, 2 * round((size - 1.0) / 2.0) + 1)
