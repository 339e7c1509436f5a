"""Embeddings of prompts at a backbone's text length, cached on disk by content and encoders; spans by offsets."""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flowedit.backbones.checkpoint import Checkpoint
from flowedit.machine import whole_file
from flowedit.messages import InputError
from flowedit.networks import stages
from flowedit.types import Conditioning

SPACE = "▁"

READ_AS = "2"
"""Part of every cached embedding's name: another one here reads all prompts anew, when what a reading does changes."""

KNOWN = 16
"""Prompts whose embeddings stay in the host's memory, for the next edit by the same backbone."""


Output = tuple[Tensor, ...]
"""What an encoder gives, each (1, ...)."""


def _t5() -> Any:
    from transformers import T5Tokenizer

    return T5Tokenizer


def states(network: Any, ids: Tensor, mask: Tensor) -> Output:
    """The last states (1, L, D), padding encoded as if it were text."""
    return (network(ids)[0],)


def masked_states(network: Any, ids: Tensor, mask: Tensor) -> Output:
    """The last states (1, L, D) of the text's own tokens, which see each other alone; those of padding are zeros."""
    return (network(ids, mask)[0].masked_fill(mask[..., None] == 0, 0.0),)


def _first(outputs: Sequence[Output]) -> Output:
    return outputs[0]


@dataclass(frozen=True)
class Reading:
    """How a family reads prompts: by an encoder, whose class is of transformers, and by `others` beside it.

    The tokens of the first are those whose attention is read, and a prompt that is too long for it is refused; for the
    others it is cut, as in the pipelines of diffusers.
    """

    encoder: Any
    length: int
    """Tokens that a text is padded to."""
    cleaned: bool = False
    """Whether entities and white space are resolved first."""
    output: Callable[[Any, Tensor, Tensor], Output] = states
    """output(network, ids (1, L), mask (1, L)): the states (1, L, D), and what else is taken of it."""
    folder: str = "text_encoder"
    tokenizer: str = "tokenizer"
    """The folder of its tokenizer."""
    words: Callable[[], Any] = _t5
    """The class of its tokenizer, of transformers."""
    others: tuple["Reading", ...] = ()
    join: Callable[[Sequence[Output]], Output] = _first
    """From the outputs of all, the first one's first, to the embedding (1, L, D) and the extras of a Conditioning."""
    with_mask: bool = False
    """Whether its encoder knows which tokens are padding: then the prompt's own see each other alone."""
    padding: Literal["read", "zeros", "hidden"] = "read"
    """What the network is given of padding: its states, read as if it were text; zeros; or nothing that it sees."""
    blank: bool = False
    """Whether the empty prompt is zeros all through, and is not read: also one that is typed, "", where a pipeline of
    diffusers does so for a prompt that is left out alone."""
    template: str = "{}"
    """What a prompt is put into, in the place of {}, before it is read."""
    skipped: int = 0
    """Tokens of the template that stand in front of the prompt: `output` leaves them out, `length` does not count
    them."""

    @property
    def all(self) -> tuple["Reading", ...]:
        """Itself and the others."""
        return (self, *self.others)

    def filled(self, prompt: str) -> str:
        """What its tokenizer is given for a prompt."""
        return self.template.replace("{}", clean(prompt)[0] if self.cleaned else prompt)


class TextEncoder:
    """Embeds prompts as a family was trained.

    `encoder` gives the network of a folder, on the device, in precision `dtype` and with its weights held as `weights`
    says; it is called for a prompt that the cache does not hold. Embeddings are on the host.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        reading: Reading,
        device: torch.device,
        dtype: torch.dtype,
        cache: Path | None,
        encoder: Callable[[str], Any],
        weights: str = "saved",
    ) -> None:
        self._checkpoint, self._reading = checkpoint, reading
        self._device, self._dtype, self._cache = device, dtype, cache
        self._encoder, self._weights = encoder, weights
        self._known: dict[str, Output] = {}

    @cached_property
    def _tokenizer(self) -> Any:
        return self._tokenizers[self._reading.folder]

    @cached_property
    def _tokenizers(self) -> dict[str, Any]:
        """Those of all encoders, by the encoders' folders."""
        return {each.folder: self._checkpoint.tokenizer(each.tokenizer, each.words()) for each in self._reading.all}

    def spans(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """[start, end) characters of every unpadded token, the closing one empty.

        Raises InputError for a prompt longer than the text length, with the words that would fall off.
        """
        with self._checkpoint.reporting("its tokenizer cannot be used"):
            pieces, offsets, _ = self._pieces(prompt)
        if len(offsets) > self._reading.length:
            lost = prompt[offsets[self._reading.length - 1][0] :].strip()
            lost = lost if len(lost) <= 80 else f"{lost[:45]} … {lost[-30:]}"
            raise InputError(
                f"the prompt has {len(offsets)} tokens, {self._checkpoint.name} reads {self._reading.length}: "
                f"shorten it; these words fall off: {lost!r}"
            )
        # A lone "▁" is the space before a word, but carries the place of the word's first letter.
        return tuple((a, a) if piece == SPACE else (a, b) for piece, (a, b) in zip(pieces, offsets, strict=True))

    def unreadable(self, prompt: str) -> tuple[tuple[int, int], ...]:
        """[start, end) characters of every stretch of the prompt that the tokenizer has no piece for."""
        _, offsets, unknown = self._pieces(prompt)
        # The name of what is unknown is CLIP's closing token too, which stands for no characters.
        return tuple((a, b) for i, (a, b) in enumerate(offsets) if i in unknown and a < b)

    def _pieces(self, prompt: str) -> tuple[list[str], list[tuple[int, int]], set[int]]:
        """The prompt's tokens, the closing one last; the characters of the prompt as given that each covers; and which
        of them stand for characters that the vocabulary lacks.
        """
        text, places = clean(prompt) if self._reading.cleaned else (prompt, None)
        first, before = self._reading.skipped, self._reading.template.index("{}")
        encoded = self._tokenizer(self._reading.filled(prompt), return_offsets_mapping=True, verbose=False)
        pieces = self._tokenizer.convert_ids_to_tokens(encoded["input_ids"])
        offsets = [(int(a) - before, int(b) - before) for a, b in encoded["offset_mapping"][first:]]
        offsets = [(a, b) if 0 <= a < b <= len(text) else (0, 0) for a, b in offsets]  # the template's own have none
        if places is not None:
            offsets = [(places[a][0], places[b - 1][1]) if a < b else (0, 0) for a, b in offsets]
        unknown = _unknown(encoded, pieces, self._tokenizer.unk_token)
        return pieces[first:], offsets, {i - first for i in unknown if i >= first}

    def embed(self, prompt: str) -> Conditioning:
        """The prompt's embedding (1, length, D) on the host, in the network's precision."""
        spans = self.spans(prompt)
        if prompt not in self._known:
            path = None if self._cache is None else self._cache / f"{self._key(prompt)}.safetensors"
            made = _load(path)
            if made is None:
                with self._checkpoint.reporting("its text encoder cannot be run"):
                    made = self._reading.join([self._encode(each, prompt) for each in self._reading.all])
                if self._reading.blank and not prompt:
                    made = tuple(torch.zeros_like(each) for each in made)
                _save(path, made)
            self._known[prompt] = made
        embedding, *extras = self._known[prompt]
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return Conditioning(prompt, embedding, spans, tuple(extras))

    def _key(self, prompt: str) -> str:
        parts = [READ_AS]
        for each in self._reading.all:
            parts += [self._checkpoint.fingerprint(each.folder), self._checkpoint.fingerprint(each.tokenizer)]
            parts += [
                str(each.length),
                str(self._dtype),
                self._device.type,
                each.encoder.__name__,
                _named(each.output),
                _named(each.join),
                each.template,
                str(each.skipped),
                str(each.cleaned),
                str(each.blank and not prompt),
            ]
        parts += [*([] if self._weights == "saved" else [self._weights]), prompt]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def pieces(self, prompt: str) -> list[str]:
        """The tokenizer's pieces of the prompt, one a token, the closing one last."""
        return self._pieces(prompt)[0]

    @property
    def reading(self) -> Reading:
        """How prompts are read."""
        return self._reading

    @torch.no_grad()
    def layers(self, prompt: str, keep: Callable[[Tensor], Any], blank: Sequence[int] = ()) -> dict[str, Any]:
        """What `keep` makes of each state (length, D) of the first encoder: what enters its first layer, leaves each,
        and "output", what the network is given of it, which may leave another layer than the last.

        `blank` tokens are read as padding. Nothing is cached.
        """
        tokens, first = self._tokens(self._reading, prompt), self._reading.skipped
        tokens.input_ids[0, [first + each for each in blank]] = self._tokenizer.pad_token_id
        with self._checkpoint.reporting("its text encoder cannot be run"):
            encoder, tokens = self._encoder(self._reading.folder), tokens.to(self._device)
            with stages.watched(stages.layers(encoder), lambda x, _: keep(x[0, first:]), entry="embedding") as seen:
                given = self._reading.output(encoder, tokens.input_ids, tokens.attention_mask)[0]
        return {**{name: each[0] for name, each in seen.items()}, "output": keep(given[0])}

    def _tokens(self, reading: Reading, prompt: str) -> Any:
        first, length = reading is self._reading, reading.length + reading.skipped
        how = {"padding": "max_length", "max_length": length, "truncation": not first}
        tokens = self._tokenizers[reading.folder](reading.filled(prompt), return_tensors="pt", **how)
        for place in self._pieces(prompt)[2] if first else ():
            tokens.input_ids[0, reading.skipped + place] = self._tokenizer.unk_token_id
        return tokens

    @torch.no_grad()
    def _encode(self, reading: Reading, prompt: str) -> Output:
        encoder, tokens = self._encoder(reading.folder), self._tokens(reading, prompt).to(self._device)
        made = reading.output(encoder, tokens.input_ids, tokens.attention_mask)
        return tuple(each.to(self._dtype if each.is_floating_point() else each.dtype).cpu() for each in made)


def _named(function: Callable[..., Any]) -> str:
    """A function by its module too: families may call theirs alike."""
    return f"{function.__module__}.{function.__qualname__}"


def _unknown(encoded: Any, pieces: list[str], unknown: str) -> set[int]:
    """The tokens of which the text is not their piece: those that stand for what the vocabulary lacks.

    transformers gives them the number 2 whatever the vocabulary says, which is `<s>` in UMT5's and not its `<unk>`.
    """
    texts = encoded.tokens()
    return {i for i, piece in enumerate(pieces) if piece == unknown or texts[i] != piece}


def _load(path: Path | None) -> Output | None:
    if path is None or not path.is_file():
        return None
    try:
        held = load_file(path)
        return held.pop("embedding"), *(held[name] for name in sorted(held))
    except (SafetensorError, OSError, KeyError):
        return None  # a damaged entry is made anew


def _save(path: Path | None, made: Output) -> None:
    """A cache that cannot be written is no reason to stop."""
    if path is None:
        return
    names = ["embedding", *(f"extra_{i}" for i in range(len(made) - 1))]
    with suppress(OSError), whole_file(path) as part:
        save_file({name: each.contiguous() for name, each in zip(names, made, strict=True)}, part)


Places = list[tuple[int, int]]
"""For each character of a text, the [start, end) characters of the prompt that it stands for."""

ENTITY = re.compile(r"&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")

SPACES = re.compile(r"\s+")


def clean(prompt: str) -> tuple[str, Places]:
    """HTML entities read twice, runs of white space as one space, none at the ends; and each character's place.

    The pipeline also repairs text with ftfy where that is installed, which by default is not so; nothing is repaired
    here, so that a prompt means the same everywhere.
    """
    text, places = prompt, [(i, i + 1) for i in range(len(prompt))]
    for _ in range(2):
        text, places = _replace(text, places, ENTITY, html.unescape)
    text, places = _replace(text, places, SPACES, lambda _: " ")
    start = len(text) - len(text.lstrip())
    end = max(start, len(text.rstrip()))
    return text[start:end], places[start:end]


def _replace(
    text: str, places: Places, pattern: re.Pattern[str], replacement: Callable[[str], str]
) -> tuple[str, Places]:
    """Replace each match; every character of a replacement stands for the whole of its match."""
    parts: list[str] = []
    origins: Places = []
    done = 0
    for match in pattern.finditer(text):
        new = replacement(match.group())
        whole = places[match.start()][0], places[match.end() - 1][1]
        parts += [text[done : match.start()], new]
        origins += [*places[done : match.start()], *[whole] * len(new)]
        done = match.end()
    return "".join([*parts, text[done:]]), [*origins, *places[done:]]
