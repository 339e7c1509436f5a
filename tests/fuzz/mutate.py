"""Odd values, and changes to bytes, plain data, YAML, JSON, mp4 boxes and safetensors headers; all drawn from `rng`."""

import copy
import json
import struct
from random import Random
from typing import Any

import yaml

TEXTS = (
    "", " ", "null", "nan", "inf", "-1", "0", "1e400", "1e-320", "9" * 400, "0x10", "1_000", "[1,2", "[]", "{a: b}",
    "a:b",
    "${oc.env:HOME}", "${clip}", "a" * 10_000, "a " * 5_000, "e\u0301" * 50, "\u202eevil", "\x1b[31mred", "%s%n%x",
    "'", '"',
    "\\", "true", "2147483648", "9223372036854775808", "-0.0", "1/0", "1/3", "24000/1001", "½", "²", "٣", "1x1",
    "8192x8192",
    "0x0", "32x32x32", "auto", "none", "..", "../..", "/", "/etc/passwd", "/dev/zero", "~", ".", "\ufeff", "\u0000",
    "fox\nfox",
    "fox, fox, fox", ",,,", "fox" + ", fox" * 300, "=", "a=b", "--help", "-", "--", "https://example.org/a.mp4",
    "C:\\a.mp4",
    "🦊" * 40, "𝖋𝖔𝖝", "\u200b", "((((((((((", "*" * 80, "cuda:²", "cuda:99999999999999999999", "mps:0",
    "a" * 255 + ".mp4",
)  # fmt: skip

NUMBERS = (
    0, 1, -1, 2, 3, 7, 255, 256, 1000, 65_535, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**30, 10**400,
    0.5, -0.5, 1e-30, 1e30, 1e308, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip


def text(rng: Random) -> str:
    """An odd text."""
    return rng.choice(TEXTS)


def value(rng: Random) -> Any:
    """An odd plain value."""
    nested: Any = {"a": [1, {"b": None}]}
    return rng.choice((None, True, False, [], {}, [[]], nested, rng.choice(NUMBERS), rng.choice(NUMBERS), text(rng)))


def changed(rng: Random, data: Any) -> Any:
    """Plain data with one to three changes at places of their own."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = _changed(rng, data)
    return data


def _changed(rng: Random, data: Any) -> Any:
    places = list(_places(data))
    if not places or rng.random() < 0.05:
        return rng.choice((value(rng), [data], {"a": data}, [data, data]))
    holder, key = rng.choice(places)
    how = rng.randrange(10)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[str(key) + rng.choice(("s", " ", "_", "\u0301"))] = holder.pop(key)
    elif how == 2:
        holder[key] = [holder[key]] * rng.choice((1, 2, 1000))
    elif how == 3 and isinstance(holder, dict):
        holder[rng.choice((text(rng), rng.choice(NUMBERS)))] = value(rng)
    elif how == 4 and isinstance(holder[key], int):
        holder[key] = holder[key] * rng.choice((0, -1, 2, 3, 1000, 10**6, 10**9))
    elif how == 5 and isinstance(holder[key], str):
        holder[key] = jumbled(rng, holder[key].encode()).decode(errors="replace")
    else:
        holder[key] = value(rng)
    return data


def _places(data: Any) -> Any:
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, each in pairs:
        yield data, key
        yield from _places(each)


def jumbled(rng: Random, data: bytes) -> bytes:
    """Bytes with something cut, turned, doubled, put in or overwritten."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, 64, 512))
        how = rng.randrange(8)
        if how == 0:
            del out[at:]
        elif how == 1:
            del out[at : at + length]
        elif how == 2:
            out[at:at] = rng.randbytes(length)
        elif how == 3:
            out[at:at] = out[at : at + length]
        elif how == 4:
            out[at : at + length] = bytes(rng.choice((0, 255)) for _ in range(1)) * min(length, len(out) - at)
        elif at < len(out):
            out[at] = rng.choice((0, 255, out[at] ^ (1 << rng.randrange(8)), rng.randrange(256)))
    return bytes(out)


def yaml_bytes(rng: Random, data: Any) -> bytes:
    """A YAML file of changed data, or one that only YAML can be wrong in."""
    how = rng.randrange(10)
    if how < 5:
        return _dumped(rng, changed(rng, data)).encode("utf-8", "surrogatepass")
    own = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    if how == 5:
        return jumbled(rng, own.encode())
    if how == 6:
        return (own + rng.choice(YAML_ENDS)).encode("utf-8", "surrogatepass")
    if how == 7:
        return rng.choice(YAML_WHOLE).encode("utf-8", "surrogatepass")
    if how == 8:
        return own.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
    return (
        b"%s: %s\n" % (rng.choice((b"steps", b"clip", b"a")), rng.choice(YAML_ENDS).encode("utf-8", "surrogatepass"))
        + own.encode()
    )


def _dumped(rng: Random, data: Any) -> str:
    return yaml.safe_dump(
        data, sort_keys=False, allow_unicode=rng.random() < 0.5, default_flow_style=rng.choice((None, True))
    )


def laughs(levels: int, open: str = "[", close: str = "]", each: str = "*{0}", width: int = 9) -> str:
    """Aliases of aliases: 9 to the power of `levels` values in a few hundred letters."""
    rows = ["a0: &a0 " + open + ",".join(["x: 1"] if open == "{" else ["lol"] * width) + close]
    rows += [
        f"a{i}: &a{i} " + open + ",".join([each.format(f"a{i - 1}")] * width) + close for i in range(1, levels + 1)
    ]
    return "\n".join(rows) + "\n"


TAGS = ("!!bool maybe", "!!int x", "!!int", "!!float x", "!!null x", "!!timestamp foo", "!!timestamp 9999-99-99",
        "!!binary ==?", "!!set [1]", "!!omap 3", "!!pairs x", "!!map x", "!!seq x", "!!str [1]", "!!merge x",
        "!!python/object/apply:os.system ['touch owned']", "!!python/name:os.system", "!foo bar", "!<!> x",
        "!!int 0b", "!!int '0o9'", "!!int 1:99:99", "!!float .", "!!float 1:", "!!bool {}", "!!value =")  # fmt: skip

YAML_ENDS = (
    *(f"seed: {tag}\n" for tag in TAGS),
    "seed: " + "[" * 3000 + "]" * 3000 + "\n", "seed: " + "{a: " * 3000 + "1" + "}" * 3000 + "\n",
    "seed: " + "[" * 100_000, "- " * 3000 + "1", "? " * 3000 + "1", "seed: &a [*a]\n", "seed: &a {b: *a}\n",
    "seed: *nobody\n",
    laughs(9), laughs(3), laughs(12, width=3), laughs(9, "{<<: [", "]}"), "seed: " + "9" * 5000 + "\n",
    "seed: 1" + "0" * 300 + "\n",
    "seed: 1:59:59\n", "seed: 0b111\n", "seed: 2001-12-14t21:59:43.10-05:00\n", "seed: 2001-99-99\n",
    "? [a, b]\n: 1\n",
    "? {a: b}\n: 1\n", "1: 2\n", "null: 2\n", "true: 1\n", "<<: 3\n", "<<: [1]\n", "<<: {steps: 2}\n", "---\n---\n",
    "...\n",
    "%YAML 9.9\n", "%TAG ! x\n", "\tsteps: 1\n", "steps: 1\nsteps: 2\n", "seed: \x07\n", "seed: \ud800\n",
    "seed: '\n", "seed: |99\n  a\n",
    "seed: >-\n" + "  a\n" * 5000, "k" * 10_000 + ": 1\n", "k: " + "v" * 200_000 + "\n", "source: '\\ud800'\n",
    'source: "\\ud800"\n',
    'clip: "\\0"\n', 'user_mask: "a\\0b"\n', "".join(f"k{i}: {i}\n" for i in range(3000)),
)  # fmt: skip

YAML_WHOLE = (
    "", "\n", "#\n", "3\n", "null\n", "[]\n", "{}\n", "[[]]\n", "a\n", "- a\n", "- {}\n", "- null\n", "clip:\n",
    "clip: []\n",
    "clip: ''\n", "clip: .\n", "clip: 3\n", "&a [*a]\n", "&a {clip: *a}\n", "\ud800", "\x00\x00", "---\n--- a\n",
    "- clip: a.mp4\n" * 2,
    "[" * 5000, "{" * 5000, "- " * 5000, "a: " * 5000, "!!set {a}\n", "!!python/object:os.x {}\n", "<<: *a\n",
    "- - - - a\n",
    "clip: c.mp4\nsource: [a]\n", "clip: c.mp4\nsource: {a: b}\n", "clip: " + "a" * 100_000 + "\n",
    "clip: " + "a/" * 3000 + "\n",
)  # fmt: skip


def json_bytes(rng: Random, data: Any) -> bytes:
    """A JSON file of changed data, or one that only JSON can be wrong in."""
    how = rng.randrange(8)
    if how < 5:
        return json.dumps(changed(rng, data), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if how == 5:
        return jumbled(rng, json.dumps(data).encode())
    if how == 6:
        return json.dumps(data).encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")))
    return rng.choice(JSON_WHOLE)


JSON_WHOLE = (
    b"", b"null", b"3", b'"a"', b"[]", b"{}", b"[1, 2]", b"true", b"NaN", b"[" * 100_000, b"[" * 900 + b"]" * 900,
    b'{"a":' * 100_000, b"9" * 5000, b"1" + b"0" * 400, b"-Infinity", b'{"a": 1, "a": 2}', b"\xff\xfe",
    b"\x00" * 64, b"{]",
    b'"' + b"a" * 300_000 + b'"', b'["\\ud800"]', b'{"\\ud800": 1}',
)  # fmt: skip


def boxes(data: bytes, name: bytes) -> list[int]:
    """Where boxes of a type begin in an mp4: the places of their sizes."""
    found, at = [], data.find(name)
    while at >= 4:
        found.append(at - 4)
        at = data.find(name, at + 4)
    return found


BOXES = (b"stts", b"stsz", b"ctts", b"elst", b"tkhd", b"mvhd", b"mdhd", b"stsc", b"stco", b"stss", b"stsd", b"avc1",
b"avcC",
         b"mp4a", b"esds", b"hdlr", b"moov", b"trak", b"ftyp", b"colr", b"pasp", b"edts", b"moof", b"trun",
         b"tfdt")  # fmt: skip

FIELDS = (0, 1, 2, 3, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 1_000_000)


def mp4_bytes(rng: Random, data: bytes) -> bytes:
    """An mp4 with numbers of its boxes, their sizes or their types overwritten."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = boxes(bytes(out), rng.choice(BOXES))
        if not places:
            continue
        start = rng.choice(places)
        size = min(struct.unpack_from(">I", out, start)[0], len(out) - start, 4096)
        if rng.random() < 0.1:
            out[start + 4 : start + 8] = rng.choice((b"free", b"\0\0\0\0", b"stts", b"moov"))
            continue
        at = start if rng.random() < 0.1 else start + 8 + rng.randrange(max(size - 8, 1))
        width = rng.choice((1, 2, 4, 4, 4))
        at -= (at - start) % width
        field = rng.choice((*FIELDS, rng.randrange(2**32))) & (256**width - 1)
        out[at : at + width] = field.to_bytes(width, "big")
    return bytes(out)


def weights_bytes(rng: Random, data: bytes) -> bytes:
    """A safetensors file with another header, or other bytes."""
    how = rng.randrange(5)
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    if how == 0:
        return jumbled(rng, data)
    if how == 1:
        number = rng.choice((0, 1, size - 1, size + 1, 2**31, 2**62, 2**64 - 1, 100_000_001))
        return struct.pack("<Q", number) + data[8:]
    if how == 2:
        own = json_bytes(rng, header)
        return struct.pack("<Q", len(own)) + own + body
    if how == 3:
        return data[: rng.randrange(len(data))]
    name = rng.choice([name for name in header if name != "__metadata__"])
    key = rng.choice(("dtype", "shape", "data_offsets"))
    values = ("F32", "I64", "BOOL", "F8_E4M3", "Q4", [], [1], [-1], [2**62, 2**62], [0, 0], [5, 1], [0, 2**64], None, 3)
    header[name][key] = rng.choice(values)
    own = json.dumps(header).encode()
    return struct.pack("<Q", len(own)) + own + body
