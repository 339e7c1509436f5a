"""Spoilt files: checkpoints, videos, masks."""

import contextlib
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import mutate
import yaml
from inputs import CONTAINERS, PROMPTS, SIZES, STILLS
from kinds import SCORE, clip, edit, kind

CONFIGS = {
    "model_index.json": 2, "transformer/config.json": 4, "vae/config.json": 3, "text_encoder/config.json": 3,
    "scheduler/scheduler_config.json": 3, "tokenizer/tokenizer_config.json": 2, "tokenizer/tokenizer.json": 3,
    "flowedit.json": 2,
}  # fmt: skip

NEW = (
    "transformer/diffusion_pytorch_model.safetensors.index.json", "text_encoder/model.safetensors.index.json",
    "text_encoder/adapter_config.json", "text_encoder/generation_config.json", "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json", "tokenizer/chat_template.jinja", "tokenizer/spiece.model",
    "transformer/adapter_model.bin",
    "transformer/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.fp16.safetensors",
)  # fmt: skip

EVIL = (
    {"auto_map": {"AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}, "_class_name": "os.system"},
    {"weight_map": {"a": "../../../etc/passwd", "b": "/etc/passwd"}, "metadata": {"total_size": 10**18}},
    {"weight_map": {"a": "diffusion_pytorch_model.bin"}}, {"weight_map": []}, {"weight_map": {"a": 3}},
    {"base_model_name_or_path": "/etc", "peft_type": "LORA", "task_type": None}, {"peft_type": "LORA", "r": 10**9},
    {"tokenizer_class": "evil.Evil", "vocab_file": "/etc/passwd", "extra_ids": 10**9, "model_max_length": -1},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, {"torch_dtype": "os.system"},
    {"_class_name": ["a"], "transformer": ["os", "system"]}, {"_name_or_path": "https://example.org/evil"},
)  # fmt: skip

PICKLE = b"cos\nsystem\n(S'touch owned'\ntR."


@kind(8)
def checkpoint(rng: Random, base: Path, folder: Path) -> list[str]:
    """A checkpoint folder with something else in it."""
    family = rng.choice(("tiny", "tiny", "tiny5", "wan"))
    shutil.copytree(base / family, folder / "b")
    for _ in range(rng.choice((1, 1, 1, 2))):
        _spoil(rng, folder / "b")
    return edit(base, clip(base, folder), backbone="b")


def _spoil(rng: Random, root: Path) -> None:
    how = rng.randrange(12)
    if how < 6:
        path = root / rng.choices(list(CONFIGS), list(CONFIGS.values()))[0]
        data = _good(path)
        evil = json.dumps({**data, **rng.choice(EVIL)}).encode()
        _write(root, path, evil if rng.random() < 0.3 else mutate.json_bytes(rng, data))
    elif how < 8:
        path = rng.choice(sorted(root.rglob("*.safetensors")) or [root / "x.safetensors"])
        with contextlib.suppress(ValueError, struct.error, IndexError, OSError):  # it was spoilt before
            _write(root, path, mutate.weights_bytes(rng, b"" if _leads_out(root, path) else path.read_bytes()))
    elif how < 10:
        path = root / rng.choice(NEW)
        other = rng.choice((PICKLE, b"", rng.randbytes(99)))
        _write(root, path, json.dumps(rng.choice(EVIL)).encode() if path.suffix == ".json" else other)
    else:
        replaced(rng, rng.choice(sorted(path for path in root.rglob("*") if path.is_file() or path.is_dir())))


def _write(root: Path, path: Path, data: bytes) -> None:
    """Write a file of the case; where something else came in its place, or it leads out of the case, leave it."""
    if path.parent.is_dir() and not _leads_out(root, path):
        path.write_bytes(data)


def _leads_out(root: Path, path: Path) -> bool:
    """Whether a path is a link, a pipe or a folder, or goes through a link."""
    through = path.is_symlink() or (path.parent != root and path.parent.is_symlink())
    return through or (path.exists() and not path.is_file())


def _good(path: Path) -> dict[str, Any]:
    """What a file holds that was not spoilt before, else nothing."""
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return {}
    return data if isinstance(data, dict) else {}


def replaced(rng: Random, path: Path) -> None:
    """Another kind of thing in the place of a file or a folder."""
    was = path.is_dir() and not path.is_symlink()
    shutil.rmtree(path) if was else path.unlink()
    how = rng.randrange(7)
    if how == 0:
        path.mkdir()
    elif how == 1:
        path.symlink_to(path.name)
    elif how == 2:
        path.symlink_to(rng.choice(("/nowhere", "/dev/zero", "/proc", "/proc/version")))  # nothing that can be written
    elif how == 3:
        os.mkfifo(path)
    elif how == 4:
        path.write_bytes(rng.choice((b"", PICKLE, b"PK\x03\x04" + rng.randbytes(60))))
    elif how == 5 and not was:
        path.write_bytes(b"null")
        path.chmod(0)


@kind(10)
def video(rng: Random, base: Path, folder: Path) -> list[str]:
    """A video file with other numbers in it, cut short, or of random bytes."""
    name = rng.choice(("c.mp4", "c.mp4", "c.mp4", "f.mp4", "m.mov", *CONTAINERS, *STILLS))
    if name in SIZES and rng.random() < 0.5:
        return edit(base, clip(base, folder, name), *rng.choice(([], ["--fit", "pad"], ["--fit", "crop"])))
    data = (base / name).read_bytes()
    if Path(name).suffix in (".mp4", ".mov") and rng.random() < 0.8:
        data = mutate.mp4_bytes(rng, data)
    elif rng.random() < 0.1:
        data = rng.randbytes(rng.choice((1, 12, 4096)))
    else:
        data = mutate.jumbled(rng, data)
    name = (
        name if rng.random() < 0.9 else "x" + rng.choice((".mp4", ".mkv", ".m3u8", ".txt", ".srt", ".y4m", ".png", ""))
    )
    (folder / name).write_bytes(data)
    return edit(
        base, name, *rng.choice(([], [], ["--frames", "2"], ["--start", "1"], ["--fps", "5"], ["--mask", "none"]))
    )


@kind(4)
def user_mask(rng: Random, base: Path, folder: Path) -> list[str]:
    """A user's mask."""
    name = _spoilt_mask(rng, base, folder)
    return edit(base, clip(base, folder), "--user-mask", name)


@kind(3)
def score_mask(rng: Random, base: Path, folder: Path) -> list[str]:
    """A mask for scoring, a true result, or the edits of another."""
    names = {"clip": clip(base, folder), "score_mask": "mask.png", "truth": "truth.mp4"}
    shutil.copy(base / "mask.png", folder)
    shutil.copy(base / "c.mp4", folder / "truth.mp4")
    (folder / "ed" / "c").mkdir(parents=True)
    shutil.copy(base / "c.mp4", folder / "ed" / "c" / "edit.mp4")
    how = rng.randrange(3)
    if how == 0:
        names["score_mask"] = _spoilt_mask(rng, base, folder)
    else:
        path = folder / ("truth.mp4" if how == 1 else "ed/c/edit.mp4")
        path.write_bytes(rng.choice((mutate.jumbled, mutate.mp4_bytes))(rng, path.read_bytes()))
        rng.random() < 0.2 and replaced(rng, path)
    (folder / "l.yaml").write_text(yaml.safe_dump([{**names, **PROMPTS}]))
    return ["evaluate", "l.yaml", "--do", "score", "--edits", "x=ed", *SCORE]


def _spoilt_mask(rng: Random, base: Path, folder: Path) -> str:
    how = rng.randrange(6)
    if how == 0:
        shutil.copytree(base / "frames", folder / "frames")
        path = rng.choice([folder / "frames", *sorted((folder / "frames").iterdir())])
        if path.is_file() and rng.random() < 0.6:
            path.write_bytes(mutate.jumbled(rng, path.read_bytes()))
        else:
            replaced(rng, path)
        return "frames"
    name = rng.choice(("mask.png", "mask.jpg", "mask.bmp", "mask.tiff", "mask.webp", "k.mkv", "g.gif"))
    own = (base / name).read_bytes()
    mask = "own-" + name
    (folder / mask).write_bytes(_sized_png(rng) if how == 1 else mutate.jumbled(rng, own))
    how == 2 and replaced(rng, folder / mask)
    return mask


def _sized_png(rng: Random) -> bytes:
    """A PNG whose header tells an absurd size."""
    width, height = (rng.choice((0, 1, 4096, 65_535, 2**20, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    head = struct.pack(">IIBBBBB", width, height, rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 6)), 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(9999))), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
