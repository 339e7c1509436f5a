"""T5 and UMT5: what their released files say, small ones with random weights, their tokenizers, and their memory."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedit.backbones.sheet import FLOAT, Config, EncoderTerms, ReleasedPart, ReleasedTokenizer

if TYPE_CHECKING:
    from transformers import T5EncoderModel, T5Tokenizer, UMT5EncoderModel

T5: Config = {
    "architectures": ["T5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 10240, "d_kv": 64, "d_model": 4096,
    "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.1, "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": True, "is_gated_act": True,
    "layer_norm_epsilon": 1e-06, "model_type": "t5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24,
    "output_past": True, "pad_token_id": 0, "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32, "tie_word_embeddings": False, "transformers_version": "4.44.2",
    "use_cache": True, "vocab_size": 32128,
}  # fmt: skip

UMT5: Config = {
    **T5, "architectures": ["UMT5EncoderModel"], "model_type": "umt5", "scalable_attention": True,
    "tokenizer_class": "T5Tokenizer", "transformers_version": "4.49.0", "vocab_size": 256384,
}  # fmt: skip

SMALL: Config = {"d_ff": 64, "d_kv": 16, "d_model": 32, "num_heads": 2, "num_layers": 2, "vocab_size": 512}
"""What makes either small."""

TEXT = "a fox runs over green grass and a panda walks in the snow while the red car drives along the road "

PIECES = [
    "the", "ing", "ed", "er", "re", "on", "an", "at", "en", "es", "or", "al", "ar", "le", "ow", "ck",
    "th", "ch", "sh", "is", "of", "in", "and", "with", "dog", "fox", "cat", "panda",
]  # fmt: skip


def part(saved: str, files: int) -> ReleasedPart:
    """A release's T5, in its precision and number of files."""
    return ReleasedPart("T5EncoderModel", T5, saved, files, "transformers")


def umt5_part(saved: str, files: int) -> ReleasedPart:
    """A release's UMT5."""
    return ReleasedPart("UMT5EncoderModel", UMT5, saved, files, "transformers")


def _tokenizer(folder: Path, umt5: bool) -> None:
    """A sentencepiece model as `spiece.model` alone, as CogVideoX's, or with the names of UMT5's special pieces."""
    import io

    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    special: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 3 if umt5 else 2, "bos_id": 2 if umt5 else -1}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT + chr(32).join(map(chr, range(33, 127)))] * 20), model_writer=model,
        vocab_size=200, hard_vocab_limit=False, character_coverage=1.0, minloglevel=2, **special,
    )  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    extra = [f"<extra_id_{i}>" for i in range(100)] if not umt5 else [f"<extra_id_{i}>" for i in range(300)]
    names = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", {**names, "additional_special_tokens": extra})
    config = {**names, "additional_special_tokens": extra, "extra_ids": len(extra), "model_max_length": 226}
    _write(folder / "tokenizer_config.json", {**config, "legacy": True, "tokenizer_class": "T5Tokenizer"})


def _write(path: Path, values: Config) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


TOKENIZER = ReleasedTokenizer("T5Tokenizer", lambda folder: _tokenizer(folder, umt5=False))

UMT5_TOKENIZER = ReleasedTokenizer("T5TokenizerFast", lambda folder: _tokenizer(folder, umt5=True))


# Small ones with random weights.


def tokenizer() -> "T5Tokenizer":
    """Letters, digits, punctuation and a few word pieces, so that words fall into several tokens."""
    from transformers import T5Tokenizer

    single = [chr(c) for c in range(33, 127)]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocab += [(c, -4.0) for c in single] + [(p, -5.0) for p in PIECES] + [(f"▁{p}", -5.0) for p in PIECES]
    return T5Tokenizer(vocab=vocab, extra_ids=0)


def random_t5() -> "T5EncoderModel":
    """A T5 of one layer for the words of `tokenizer`."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(**_one_layer())).eval()


def random_umt5() -> "UMT5EncoderModel":
    """The same, a UMT5."""
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(**_one_layer())).eval()


def _one_layer() -> dict[str, Any]:
    size = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    return {"vocab_size": len(tokenizer()), **size, "pad_token_id": 0, "eos_token_id": 1}


# Memory.


def _parameters(config: Config) -> tuple[float, float, int]:
    """A UMT5 has a bias of places in each block, a T5 one for all."""
    own_bias = str(config.get("model_type", "t5")) == "umt5"
    d, ff, inner = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    bias = config.get("relative_attention_num_buckets", 32) * config["num_heads"]
    gated = config.get("feed_forward_proj", "relu").startswith("gated")
    block = 4 * d * inner + (3 if gated else 2) * d * ff + 2 * d + (bias if own_bias else 0)
    return config["vocab_size"] * d + d + (0 if own_bias else bias), block, config["num_layers"]


def _held(config: Config, tokens: int, itemsize: int) -> dict[str, float]:
    """Scores of one layer's attention, twice, in float32; and its widest activations."""
    scores = 2 * config["num_heads"] * tokens**2 * FLOAT
    return {"attention": scores, "layer": 2 * tokens * config["d_ff"] * itemsize}


TERMS = EncoderTerms(_parameters, _held)
"""Of both."""
