"""Source and target through a network at once, the target in a region alone: guided, in lanes, watched."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from flowedit.flow.guidance import scales
from flowedit.flow.rows import RowGroup, calls, groups
from flowedit.networks.guided import GuidedNetwork, guide, sides_of, texts_of
from flowedit.networks.lanes import Blocks, lanes
from flowedit.networks.recorder import Glance
from flowedit.types import Conditioning, Guided


class PairNetwork:
    """A guided network that evaluates source and target at once, the target at a region's tokens alone.

    `network(t)` is the transformer; `saved` counts what its target's rows did not send, in whole rows.
    """

    def __init__(self, guided: GuidedNetwork, blocks: Blocks, network: Callable[[float], Any]) -> None:
        self._guided, self._blocks, self._network = guided, blocks, network
        self.saved = 0.0

    @torch.no_grad()
    def __call__(
        self, q: Tensor, p: Tensor, t: float, source: Guided, target: Guided, tokens: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Both sides' guided outputs, (B, C, F, H, W) and (K B, C, F, H, W) for K scales of the target, float32.

        q, p: what the network takes of source and target, (B, C, F, H, W); tokens (n,): see `lanes`. The target's
        means something at the sites of those tokens alone. A call has at most `rows` whole rows, as everywhere, and
        those of the region beside them.
        """
        guided = self._guided
        if len(tokens) == 0:
            return self._without_target(q, t, source, target)
        ours, theirs = sides_of(*source), sides_of(*target)
        found: list[list[list[Tensor]]] = [[[] for _ in ours], [[] for _ in theirs]]
        packed = calls(groups(ours, theirs), guided.rows)
        size = max(1, guided.rows // len(packed[0])) if guided.rows else len(q)
        with ExitStack() as stack:
            maps = [
                stack.enter_context(guided.recorded(prompt, q, part))
                for prompt, part in ((source.prompt, None), (target.prompt, tokens))
            ]
            for x_q, x_p in zip(q.split(size), p.split(size), strict=True):
                for call in packed:
                    self._call(call, x_q, x_p, t, ours, theirs, tokens, maps, found)
        return _guided(found[0], source), _guided(found[1], target)

    def _call(
        self,
        call: Sequence[RowGroup],
        q: Tensor,
        p: Tensor,
        t: float,
        source: Sequence[Conditioning],
        target: Sequence[Conditioning],
        tokens: Tensor,
        maps: Sequence[list[Tensor]],
        found: Sequence[Sequence[list[Tensor]]],
    ) -> None:
        """One network call, of groups with as many of the target's rows each."""
        places = [[(0, each.source) for each in call]]
        places += [[(1, each.targets[i]) for each in call] for i in range(len(call[0].targets))]
        rows = [source, target]
        texts = texts_of([rows[side][row] for lane in places for side, row in lane], len(q))
        batch = torch.cat([(q, p)[side] for lane in places for side, _ in lane])
        readings = [self._reading(lane, rows, len(q)) for lane in places]
        network, recorder = self._network(t), self._guided.recorder
        watched = (lambda: recorder.inside) if recorder is not None else (lambda: False)
        with lanes(network, self._blocks, len(places), tokens, readings, watched):
            out = self._guided.network(batch, t, texts)
        for (side, row), part in zip([each for lane in places for each in lane], out.split(len(q)), strict=True):
            found[side][row].append(part)
        for lane, reading in zip(places, readings, strict=True):
            if reading is not None:
                maps[lane[0][0]].append(reading.maps())
        text = texts[0].shape[1] if self._blocks.text_attention is None else 0
        whole = self._guided.tokens(q)
        self.saved += (len(batch) - len(q) * len(call)) * (whole - len(tokens)) / (text + whole)

    def _reading(
        self, lane: Sequence[tuple[int, int]], rows: Sequence[Sequence[Conditioning]], size: int
    ) -> Glance | None:
        """What is read of a lane: its conditional rows, of which a lane has those of one group at most."""
        recorder = self._guided.recorder
        for place, (side, row) in enumerate(lane):
            if recorder is not None and row == len(rows[side]) - 1:
                return recorder.reading(rows[side][row], slice(place * size, (place + 1) * size))
        return None

    def _without_target(self, q: Tensor, t: float, source: Guided, target: Guided) -> tuple[Tensor, Tensor]:
        """An empty region: the source alone is evaluated."""
        out = self._guided(q, t, *source)
        if (recorder := self._guided.recorder) is not None:
            with self._guided.recorded(target.prompt, q) as maps:
                recorder.blank(target.prompt, len(q), self._guided.tokens(q), maps)
        return out, torch.zeros_like(out).repeat(len(scales(target.scale)), 1, 1, 1, 1)


def _guided(found: Sequence[Sequence[Tensor]], guided: Guided) -> Tensor:
    rows = [torch.cat(list(each)) for each in found]
    each_scale = scales(guided.scale)
    return torch.cat([rows[0] if len(rows) == 1 else guide(torch.cat(rows), scale) for scale in each_scale])
