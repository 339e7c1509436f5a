"""Llama 3: what released files say of it, a small one with random weights, and its memory."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.backbones.encoders.t5 import PIECES
from flowedit.backbones.sheet import FLOAT, Config, EncoderTerms, ReleasedPart

if TYPE_CHECKING:
    from transformers import LlamaModel, PreTrainedTokenizerFast

LLAMA: Config = {
    "architectures": ["LlamaModel"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000,
    "eos_token_id": 128001, "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 8192, "mlp_bias": False, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 500000.0, "tie_word_embeddings": False,
    "use_cache": True, "vocab_size": 128320,
}  # fmt: skip

SMALL: Config = {
    "head_dim": 16, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3,
    "num_key_value_heads": 1, "vocab_size": 1024,
}  # fmt: skip
"""What makes one small."""

START, END, PAD = "<|begin_of_text|>", "<|eot_id|>", "<|pad|>"


def part(saved: str, files: int) -> ReleasedPart:
    """A release's Llama, in its precision and number of files."""
    return ReleasedPart("LlamaModel", LLAMA, saved, files, "transformers")


def tokenizer(template: str, skipped: int) -> "PreTrainedTokenizerFast":
    """Bytes and a few word pieces, and pieces of what is before {} in a template: `skipped`, with the start token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    stems = [(piece[:i], piece[i]) for piece in PIECES for i in range(1, len(piece))]
    merges = list(dict.fromkeys(stems))
    pieces = dict.fromkeys([*letters, *("".join(pair) for pair in merges)])
    made = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    before, count = template.partition("{}")[0], skipped - 1
    cuts = [len(before) * i // count for i in range(count + 1)]
    made.add_special_tokens([START, END, PAD])
    made.add_tokens([AddedToken(before[a:b], normalized=False) for a, b in pairwise(cuts)])
    place = made.token_to_id(START)
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{START} $A", special_tokens=[(START, place)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=START, eos_token=END, pad_token=PAD)


def write(template: str, skipped: int, folder: Path) -> None:
    """The files of `tokenizer`."""
    tokenizer(template, skipped).save_pretrained(folder)
    path = folder / "tokenizer_config.json"  # as the release's: it pads behind
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding_side": "right"}, indent=2) + "\n")


def random_llama(words: int) -> "LlamaModel":
    """A Llama of three layers, 32 wide, for a tokenizer of so many words."""
    from transformers import LlamaConfig, LlamaModel

    size: dict[str, Any] = {**SMALL, "vocab_size": words, "max_position_embeddings": 512}
    return LlamaModel(LlamaConfig(**size)).eval()


# Memory.


def _parameters(config: Config) -> tuple[float, float, int]:
    d, ff = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or d // config["num_attention_heads"]
    heads = 2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"]
    return config["vocab_size"] * d + d, heads * head * d + 3 * d * ff + 2 * d, config["num_hidden_layers"]


def _held(config: Config, tokens: int, itemsize: int) -> dict[str, float]:
    """All states, which are asked for; a layer's widest, and its mask."""
    states = (config["num_hidden_layers"] + 1) * tokens * config["hidden_size"]
    return {
        "states": states * itemsize,
        "layer": 3 * tokens * config["intermediate_size"] * itemsize + tokens**2 * FLOAT,
    }


TERMS = EncoderTerms(_parameters, _held)
