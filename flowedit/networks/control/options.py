"""How the target's attention is controlled: its options; nothing here imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flowedit.declare import option

OFF = {
    "queries": 0.0,
    "keys": 0.0,
    "values": 0.0,
    "anchor_words": 0.0,
    "anchor_sites": 0.0,
    "word_weight": 1.0,
    "objects": "joined",
}
"""The options that act by themselves, at the value with which each does nothing."""


def _interval(ends: Any) -> bool:
    return len(ends) == 2 and ends[0] <= ends[1]


_SHARES = {
    "typed": "A,B",
    "least": 0,
    "most": 1,
    "check": _interval,
    "expected": "two shares from 0 to 1, the first not above the second",
}


def rounded(shares: Sequence[float], steps: int) -> tuple[int, int]:
    """Two shares of so many steps, (first, end), each rounded to the nearest step, halves up."""
    first, end = (int(each * steps + 0.5) for each in shares)
    return first, end


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What the target takes of the source's attention, and how it looks at its words; all off by default."""

    name: str = option("what of the attention is controlled: none | one of the recipes in conf/attention")
    queries: float = option("share of the source's queries in the target's", least=0, most=1, needs="source_attention")
    keys: float = option("share of the source's keys in the target's", least=0, most=1, needs="source_attention")
    values: float = option("share of the source's values in the target's", least=0, most=1, needs="source_attention")
    keys_inside: float = option(
        "of the shares of queries and keys, that which is taken inside the mask: 1 as outside, 0 nothing",
        least=0,
        most=1,
        needs="taken_keys and mask",
    )
    values_inside: float = option(
        "of the share of values, that which is taken inside the mask: 1 as outside, 0 nothing",
        least=0,
        most=1,
        needs="attention.values>0 and mask",
    )
    keys_steps: tuple[float, ...] = option(
        "between which shares of the steps queries and keys are taken", needs="taken_keys", **_SHARES
    )
    values_steps: tuple[float, ...] = option(
        "between which shares of the steps values are taken", needs="attention.values>0", **_SHARES
    )
    fade: float = option(
        "how steeply the shares fall over their steps, to a half at 0.7 of these; 0 not at all",
        least=0,
        most=100,
        needs="taken",
    )
    adapt: float = option(
        "the shares grow with the variance of the foreseen clip inside the mask, up to this one; 0 not at all",
        least=0,
        most=1000,
        needs="taken",
    )
    blocks: tuple[float, ...] = option(
        "between which fractions of the depth attention is controlled", needs="controlled", **_SHARES
    )
    anchor_words: float = option(
        "how far inside an object each site's attention is drawn to the object's words",
        least=0,
        most=1,
        needs="mask and target_words",
    )
    anchor_sites: float = option(
        "how far the attention to an object's words is drawn into the object",
        least=0,
        most=1,
        needs="mask and target_words",
    )
    anchor_until: float = option(
        "down to which time, 1 is noise, attention is drawn so", least=0, most=1, needs="anchored"
    )
    word_weight: float = option(
        "how many times as much the target words count for sites inside the mask",
        above=0,
        most=100,
        needs="mask and target_words",
    )
    objects: Literal["joined", "apart", "auto"] = option(
        "several objects: every site sees all words (joined), or not those of another object (apart); or auto: apart "
        "where several objects have words in both prompts",
        needs="several_masks",
    )

    @property
    def takes(self) -> bool:
        """Whether anything is taken of the source's attention."""
        return max(self.queries, self.keys, self.values) > 0

    @property
    def tensors(self) -> float:
        """How many of queries, keys and values are taken, each counted by its share of the blocks."""
        first, end = self.blocks
        return (end - first) * sum(share > 0 for share in (self.queries, self.keys, self.values))

    def steps_that_take(self, steps: int) -> int:
        """How many of so many steps take anything."""
        ends = [self.keys_steps] * (max(self.queries, self.keys) > 0) + [self.values_steps] * (self.values > 0)
        return len({step for each in ends for step in range(*rounded(each, steps))})

    @property
    def anchors(self) -> bool:
        """Whether attention is drawn between an object's words and its sites."""
        return max(self.anchor_words, self.anchor_sites) > 0

    @property
    def bends(self) -> bool:
        """Whether attention to words is changed."""
        return self.anchors or self.word_weight != 1.0 or self.objects == "apart"

    @property
    def called(self) -> str:
        """What a user leaves out to be without it: the recipe, or without one the options that act."""
        if self.name != "none":
            return f"attention={self.name}"
        acting = {key: getattr(self, key) for key, off in OFF.items() if getattr(self, key) != off}
        return " ".join(f"attention.{key}={value}" for key, value in acting.items())

    @property
    def active(self) -> bool:
        """Whether there is a control at all."""
        return self.takes or self.bends
