"""T5 and UMT5 embeddings at a backbone's text length, cached on disk by content and encoder; spans by offsets."""

import hashlib
import html
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flowedit.backbones import screening
from flowedit.backbones.checkpoint import Checkpoint, quiet
from flowedit.machine import muted, whole_file
from flowedit.messages import InputError
from flowedit.networks import stages
from flowedit.pretrained import layout
from flowedit.types import Conditioning

SPACE = "▁"

KNOWN = 16
"""Prompts whose embeddings stay in the host's memory, for the next edit by the same backbone."""


@dataclass(frozen=True)
class Reading:
    """How a family reads prompts: its encoder's class of transformers, and the tokens that a text is padded to.

    `cleaned`: entities and white space are resolved first. `masked`: the encoder attends to the prompt's own tokens
    only, and padding is zeros; otherwise padding is encoded as if it were text.
    """

    encoder: Any
    length: int
    cleaned: bool = False
    masked: bool = False


class TextEncoder:
    """Embeds prompts as a family was trained.

    `encoder` gives the network, on the device, in precision `dtype` and with its weights held as `weights` says; it is
    called for a prompt that the cache does not hold. Embeddings are on the host.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        reading: Reading,
        device: torch.device,
        dtype: torch.dtype,
        cache: Path | None,
        encoder: Callable[[], Any],
        weights: str = "saved",
    ) -> None:
        self._checkpoint, self._reading = checkpoint, reading
        self._device, self._dtype, self._cache = device, dtype, cache
        self._encoder, self._weights = encoder, weights
        self._known: dict[str, Tensor] = {}

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import T5Tokenizer

        self._checkpoint.require("tokenizer", "spiece.model", "tokenizer.json")
        own = self._checkpoint.path / "tokenizer" / "tokenizer_config.json"
        if own.is_file():  # its reader makes as many names as extra_ids says
            extra = layout.read_json(own).get("extra_ids", 0)
            screening.check({"extra_ids": extra if isinstance(extra, int) else -math.inf}, repr(str(own)))
        with self._checkpoint.reporting("its tokenizer cannot be read"), quiet(), muted():
            return T5Tokenizer.from_pretrained(self._checkpoint.path / "tokenizer", local_files_only=True)

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
        return tuple(place for i, place in enumerate(offsets) if i in unknown)

    def _pieces(self, prompt: str) -> tuple[list[str], list[tuple[int, int]], set[int]]:
        """The prompt's tokens, the closing one last; the characters of the prompt as given that each covers; and which
        of them stand for characters that the vocabulary lacks.
        """
        text, places = clean(prompt) if self._reading.cleaned else (prompt, None)
        encoded = self._tokenizer(text, return_offsets_mapping=True)
        pieces = self._tokenizer.convert_ids_to_tokens(encoded["input_ids"])
        offsets = [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
        if places is not None:
            offsets = [(places[a][0], places[b - 1][1]) if a < b else (0, 0) for a, b in offsets]
        return pieces, offsets, _unknown(encoded, pieces, self._tokenizer.unk_token)

    def embed(self, prompt: str) -> Conditioning:
        """The prompt's embedding (1, length, D) on the host, in the network's precision."""
        spans = self.spans(prompt)
        if prompt in self._known:
            return Conditioning(prompt, self._known[prompt], spans)
        path = None if self._cache is None else self._cache / f"{self._key(prompt)}.safetensors"
        embedding = _load(path)
        if embedding is None:
            with self._checkpoint.reporting("its text encoder cannot be run"):
                embedding = self._encode(prompt)
            _save(path, embedding)
        self._known[prompt] = embedding
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return Conditioning(prompt, embedding, spans)

    def _key(self, prompt: str) -> str:
        parts = [self._checkpoint.fingerprint("text_encoder"), self._checkpoint.fingerprint("tokenizer")]
        parts += [
            str(self._reading.length),
            str(self._dtype),
            self._device.type,
            self._reading.encoder.__name__,
            *([] if self._weights == "saved" else [self._weights]),
            prompt,
        ]
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
        """What `keep` makes of each state (length, D) on the way: what enters the first layer, leaves each, and leaves.

        `blank` tokens are read as padding. Nothing is cached.
        """
        tokens = self._tokens(prompt)
        tokens.input_ids[0, list(blank)] = self._tokenizer.pad_token_id
        with self._checkpoint.reporting("its text encoder cannot be run"):
            encoder, tokens = self._encoder(), tokens.to(self._device)
            found = stages.layers(encoder)
            with stages.watched(found, lambda x, _: keep(x[0]), entry="embedding") as seen:
                last = encoder(tokens.input_ids, *([tokens.attention_mask] if self._reading.masked else []))[0]
        return {**{name: each[0] for name, each in seen.items()}, "output": keep(last[0])}

    def _tokens(self, prompt: str) -> Any:
        text = clean(prompt)[0] if self._reading.cleaned else prompt
        tokens = self._tokenizer(text, padding="max_length", max_length=self._reading.length, return_tensors="pt")
        for place in self._pieces(prompt)[2]:
            tokens.input_ids[0, place] = self._tokenizer.unk_token_id
        return tokens

    @torch.no_grad()
    def _encode(self, prompt: str) -> Tensor:
        encoder, tokens = self._encoder(), self._tokens(prompt).to(self._device)
        if not self._reading.masked:
            return encoder(tokens.input_ids)[0].to(self._dtype).cpu()
        embedding = encoder(tokens.input_ids, tokens.attention_mask)[0].to(self._dtype)
        return embedding.masked_fill(tokens.attention_mask[..., None] == 0, 0.0).cpu()


def _unknown(encoded: Any, pieces: list[str], unknown: str) -> set[int]:
    """The tokens of which the text is not their piece: those that stand for what the vocabulary lacks.

    transformers gives them the number 2 whatever the vocabulary says, which is `<s>` in UMT5's and not its `<unk>`.
    """
    texts = encoded.tokens()
    return {i for i, piece in enumerate(pieces) if piece == unknown or texts[i] != piece}


def _load(path: Path | None) -> Tensor | None:
    if path is None or not path.is_file():
        return None
    try:
        return load_file(path)["embedding"]
    except (SafetensorError, OSError, KeyError):
        return None  # a damaged entry is made anew


def _save(path: Path | None, embedding: Tensor) -> None:
    """A cache that cannot be written is no reason to stop."""
    if path is None:
        return
    with suppress(OSError), whole_file(path) as part:
        save_file({"embedding": embedding.contiguous()}, part)


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
