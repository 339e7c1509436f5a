"""Caches of blocks on PocketBench, beside fewer steps: the table in flowedit/networks/README.md.

python tests/helpers/cache_table.py SCENES
"""

import sys
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from scipy import stats

from flowedit.config.compose import compose
from flowedit.evaluation.bench import scene
from flowedit.networks.guided import GuidedNetwork
from flowedit.networks.recorder import Recorder
from flowedit.pipeline import run
from flowedit.pipeline.api import Editor

TEACACHE = (-31.0658903, 25.4732368, -5.92380459, 1.75769064, -0.00361568434)
"""The polynomial of CogVideoX-2b."""

WAYS = {
    "inversion_free": (("first", 0.6), ("teacache", 0.2), ("steps", 20)),
    "inversion": (("first", 0.05), ("teacache", 0.2), ("steps", 20)),
}


class Cache:
    """Skips a network's blocks by a rule, with a state for each prompt; off where `rule` is None."""

    def __init__(self, blocks):
        self.rule, self.threshold, self.on = None, 0.0, False
        self.key, self.states, self.calls, self.skips, self.last = None, {}, 0, 0, len(blocks) - 1
        for number, block in enumerate(blocks):
            block.forward = partial(self.block, number, block.forward)

    def block(self, number, forward, hidden_states, encoder_hidden_states, temb, **others):
        """One block, or nothing of it where this call is skipped."""
        given = hidden_states, encoder_hidden_states
        if self.rule is None or not self.on:
            return forward(*given, temb, **others)
        if number == 0:
            return self.first(partial(forward, *given, temb, **others), given, temb)
        if self.skip:
            return given
        out = forward(*given, temb, **others)
        if number == self.last:
            self.state["rest"] = tuple(after - before for after, before in zip(out, self.head, strict=True))
        return out

    def first(self, forward, given, temb):
        """The first block, and the decision; a call that is skipped takes what the rest added before."""
        self.calls += 1
        self.state = state = self.states.setdefault(self.key, {"sum": 0.0})
        self.head = forward() if self.rule == "first" else given
        seen = self.head[0] - given[0] if self.rule == "first" else temb
        old = state.get("seen")
        moved = np.inf if old is None else float((seen - old).abs().mean() / old.abs().mean())
        state["sum"] = moved if self.rule == "first" else state["sum"] + np.polyval(TEACACHE, moved)
        self.skip = old is not None and state["sum"] < self.threshold
        if self.rule == "teacache" or not self.skip:
            state["seen"] = seen
        if self.skip:
            self.skips += 1
            return tuple(part + rest for part, rest in zip(self.head, state["rest"], strict=True))
        state["sum"] = 0.0
        return self.head if self.rule == "first" else forward()


def watched(cache):
    """Tell the cache which prompt is called, and that an edit runs; a skipped call leaves the mask as it is."""
    call, steer = GuidedNetwork.__call__, run.steer

    def called(self, x, t, prompt, *others):
        cache.key = prompt
        return call(self, x, t, prompt, *others)

    @contextmanager
    def rows(self, prompt, rows, parts):
        self._prompt, self._rows, self._blocks = prompt if prompt in self._tokens else None, rows, []
        try:
            yield
        finally:
            self._prompt = None
        if self._blocks:
            parts.append(torch.stack(self._blocks).mean(0))

    def steered(*given):
        cache.on, cache.states = True, {}
        try:
            return steer(*given)
        finally:
            cache.on = False

    GuidedNetwork.__call__, Recorder.rows, run.steer = called, rows, steered


def difference(values, plain):
    """Mean and half of the 95 % interval of paired differences."""
    apart = np.subtract(values, plain)
    half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / len(apart) ** 0.5
    return f"{apart.mean():+.3f} ± {half:.3f}"


def main(scenes):
    """Print the mean of each figure of the plain edit, and the paired differences of the others."""
    torch.set_num_threads(1)

    def settings(mode, *steps):
        return compose({"mode": mode, "source": "a", "target": "b", "task": "replace"}, ["runtime.device=cpu", *steps])

    editor = Editor(settings=settings("inversion_free"))
    cache = Cache(editor.backbone.components.transformer.transformer_blocks)
    watched(cache)
    for mode, ways in WAYS.items():
        found = {way: [] for way in (("plain", 0), *ways)}
        skipped = dict.fromkeys(found, 0.0)
        for seed in range(scenes):
            truth = scene._truth(seed, "replace", editor.backbone)
            for rule, value in found:
                cache.rule = rule if rule in ("first", "teacache") else None
                cache.threshold, cache.calls, cache.skips = value, 0, 0
                how, start = settings(mode, *([f"steps={value}"] if rule == "steps" else [])), time.process_time()
                _, scores = scene._edited(how, editor, seed, truth)
                seconds = time.process_time() - start
                cache.rule = None
                skipped[rule, value] += cache.skips / max(1, cache.calls) / scenes
                keys = ("background_psnr", "truth_lpips", "object_accuracy")
                found[rule, value].append([*(scores[key] for key in keys), seconds])
        plain = np.array(found["plain", 0])
        print(mode, "plain", plain.mean(0).round(3))
        for way in ways:
            values = np.array(found[way])
            apart = [difference(*each) for each in zip(values.T, plain.T, strict=True)]
            print(mode, *way, f"skipped {skipped[way]:.2f}", *apart)


if __name__ == "__main__":
    main(int(sys.argv[1]))
