"""CLIP's text encoder: a small real byte-pair tokenizer, and small encoders with random weights."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.backbones.sheet import Config, EncoderTerms, ReleasedPart, ReleasedTokenizer

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


# As released.

LARGE: dict[str, Any] = {
    "architectures": ["CLIPTextModel"], "attention_dropout": 0.0, "bos_token_id": 0, "dropout": 0.0,
    "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768, "initializer_factor": 1.0,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 77,
    "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12, "pad_token_id": 1,
    "projection_dim": 768, "vocab_size": 49408,
}  # fmt: skip
"""CLIP ViT-L/14's."""

HUGE = {
    **LARGE, "hidden_act": "gelu", "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
    "num_hidden_layers": 23, "projection_dim": 512,
}  # fmt: skip
"""OpenCLIP ViT-H/14's without its last layer, as ModelScope reads it."""

BIG_G = {
    **LARGE, "architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu", "hidden_size": 1280,
    "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280,
}  # fmt: skip
"""OpenCLIP ViT-bigG/14's, SDXL's second one."""

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
"""What makes one small."""

TOKENIZER = ReleasedTokenizer("CLIPTokenizer", write_tokenizer)

TOKENIZER_2 = ReleasedTokenizer("CLIPTokenizer", lambda folder: write_tokenizer(folder, "!"))
"""SDXL's second one, which pads with another token."""


def part(saved: str) -> ReleasedPart:
    """A release's CLIP ViT-L/14, in its precision."""
    return ReleasedPart("CLIPTextModel", LARGE, saved, library="transformers")


# Memory.


def _parameters(config: Config) -> tuple[float, float, int]:
    d, ff = config["hidden_size"], config["intermediate_size"]
    rest = (config["vocab_size"] + config["max_position_embeddings"]) * d + 2 * d
    if config["architectures"] == ["CLIPTextModelWithProjection"]:
        rest += d * config["projection_dim"]
    return rest, 4 * d * d + 4 * d + 2 * d * ff + ff + d + 4 * d, config["num_hidden_layers"]


def _held(config: Config, tokens: int, itemsize: int) -> dict[str, float]:
    return {"layer": tokens * (6 * config["hidden_size"] + 3 * config["intermediate_size"]) * itemsize}


TERMS = EncoderTerms(_parameters, _held, streams=False)
