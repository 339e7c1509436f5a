"""CLIP's text encoder: a small real byte-pair tokenizer, and small encoders with random weights."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"

PIECES = [
    "the", "ing", "ed", "er", "re", "on", "an", "at", "en", "es", "or", "al", "ar", "le", "ow", "ck",
    "th", "ch", "sh", "is", "of", "in", "and", "with", "dog", "fox", "cat", "a",
]  # fmt: skip


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(piece -> number, merges in their order): all bytes, inside a word and at its end, and a few word pieces."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for piece in PIECES:
        stems = [piece[: i + 1] for i in range(len(piece))]
        merges |= {(stem, longer[-1]): None for stem, longer in pairwise(stems)}
        merges |= {(piece[:-1], f"{piece[-1]}</w>"): None} if len(piece) > 1 else {}
    pieces = [*letters, *(f"{each}</w>" for each in letters), *("".join(pair) for pair in merges), START, END]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, list(merges)


def tokenizer(padding: str = END) -> "CLIPTokenizer":
    """Its tokenizer, in which words fall into several pieces; SDXL's second one pads with "!"."""
    from transformers import CLIPTokenizer

    vocab, merges = vocabulary()
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=padding, model_max_length=77)  # type: ignore[arg-type]


def write_tokenizer(folder: Path, padding: str = END) -> None:
    """The same as the files that releases have: vocab.json, merges.txt and the names of its special tokens."""
    vocab, merges = vocabulary()
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = {"bos_token": START, "eos_token": END, "pad_token": padding, "unk_token": END}
    config = {**names, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    for name, values in (("vocab", vocab), ("special_tokens_map", names), ("tokenizer_config", config)):
        (folder / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def random_text(**own: Any) -> "CLIPTextModel":
    """A CLIP text encoder of two layers, 32 wide, for the words of `tokenizer`."""
    from transformers import CLIPTextModel

    return CLIPTextModel(_small(own)).eval()


def random_projected(**own: Any) -> "CLIPTextModelWithProjection":
    """The same, its pooled vector projected to 32 numbers."""
    from transformers import CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(_small(own)).eval()


def _small(own: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig

    vocab = vocabulary()[0]
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": vocab[START], "eos_token_id": vocab[END], "pad_token_id": vocab[END]}
    return CLIPTextConfig(**{"vocab_size": len(vocab), "projection_dim": 32, **size, **ids, **own})
