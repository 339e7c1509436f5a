"""The documents are true: short first page, links that lead somewhere, flags and keys that exist."""

import contextlib
import io
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("edit", "generate", "compare", "evaluate", "bench", "list", "doctor", "inspect", "app", "serve")
RENAMED = {"guidance", "guidance.weight", "mode.guidance_interval", "video"}
"""Old names of keys that the documents mention beside the new ones."""


def documents() -> list[Path]:
    """Every Markdown file that git tracks; in an export without git, every one that is there."""
    done = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0 and done.stdout:
        return sorted(ROOT / name for name in done.stdout.splitlines())
    hidden = (".venv", "outputs", "build")
    return sorted(p for p in ROOT.rglob("*.md") if not any(part in hidden for part in p.relative_to(ROOT).parts))


DOCUMENTS = documents()
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 10_240


def test_the_picture_is_small_and_moves():
    picture = ROOT / "examples" / "fox_to_panda.webp"
    assert picture.stat().st_size < 1_000_000
    assert b"ANIM" in picture.read_bytes()[:64]
    assert "examples/fox_to_panda.webp" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_picture_of_the_examples_is_shown():
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    for picture in (p for p in (ROOT / "examples").iterdir() if p.suffix in (".png", ".jpg", ".gif", ".webp")):
        assert any(re.search(rf"!\[[^\]]*\]\([^)]*{re.escape(picture.name)}\)", text) for text in texts), picture.name


@each_document
def test_links_lead_somewhere(path):
    for target in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        assert there.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{target}: no such heading"


@each_document
def test_flags_exist(path):
    for line in commands(path.read_text(encoding="utf-8")):
        command, flags, _ = parsed(line)
        known = flags_of(command) if command else set().union(*map(flags_of, COMMANDS))
        assert not flags - known, f"{sorted(flags - known)}: not a flag of flowedit {command}, in {line!r}"


@each_document
def test_keys_exist(path):
    text = path.read_text(encoding="utf-8")
    lines = [*commands(text), *(span for span in spans(text) if re.fullmatch(r'"?[a-z_]+(\.[a-z_]+)*=.*', span))]
    for line in lines:
        _, _, keys = parsed(line)
        assert not keys - configuration(), f"{sorted(keys - configuration())}: not in conf/, in {line!r}"


def test_the_map_names_functions_that_are_there():
    text = (ROOT / "flowedit" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\(([\w/]+\.py)\), `(\w+)`", text)
    assert len(named) >= 10
    for file, function in named:
        code = (ROOT / "flowedit" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {function}\b", code, re.MULTILINE), f"{file} has no {function}"


def test_the_parsers_see_what_they_should():
    block = '```bash\nls\nflowedit bench --also "mode=inversion steps=4" \\\n  x.y=1\n```\n'
    text = f"`flowedit edit a.mp4 --steps 4`\n{block}"
    assert list(commands(text)) == [
        "flowedit edit a.mp4 --steps 4",
        'flowedit bench --also "mode=inversion steps=4"  x.y=1',
    ]
    assert parsed('flowedit bench --also "mode=inversion steps=4" x.y=1') == (
        "bench",
        {"--also"},
        {"mode", "steps", "x.y"},
    )
    assert links("[a](b.md#c) ![d](e.png) `[f](g)`") == ["b.md#c", "e.png"]
    assert anchors("## What's *it*, `now`?\n```\n# no\n```\n") == {"whats-it-now"}
    assert {"--steps", "--mode", "--out"} <= flags_of("edit")
    assert {"steps", "mode", "mode.solver", "mask.threshold", "runtime.dtype", "engine.address"} <= configuration()


FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """The code spans of a text, without its blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def links(text: str) -> list[str]:
    """The targets of links and pictures outside code."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "`", FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """The names of a text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(text: str) -> list[str]:
    """Every line of a code block, and every code span, that calls flowedit or one of its scripts; and single flags."""
    found = [
        span
        for span in spans(text)
        if span.startswith(("flowedit ", "--")) and "|" not in span and not span.startswith("flowedit list ")
    ]
    for kind, block in FENCE.findall(text):
        if kind in ("bash", "sh", "console"):
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            found += [
                line for line in lines if re.match(r"((flowedit|python scripts/(edit|evaluate)\.py) |[A-Z]=)", line)
            ]
    return found


def parsed(line: str) -> tuple[str, set[str], set[str]]:
    """The command of a line, its flags, and the keys of its overrides, those inside --also as well."""
    words = shlex.split(line, comments=True)
    command, script = "", line.startswith("python scripts/")
    if words and words[0] == "flowedit":
        command = words[1] if len(words) > 1 and words[1] in COMMANDS else ""
        words = words[1:]
    flags = set() if script else {word.partition("=")[0] for word in words if word.startswith("--")}
    keys, named = set(), False
    for word in words:
        if named:  # a prompt, or NAME=DIR
            named = False
            continue
        named = word in ("--source", "--target", "--prompt", "--instruction", "--edits")
        for part in word.split():
            if (key := re.match(r"([a-z_]+(\.[a-z_]+)*)=", part)) and part != "key=value":
                keys.add(key[1])
    return command, flags, keys


@cache
def flags_of(command: str) -> set[str]:
    """The flags that `flowedit COMMAND --help` prints; those of flowedit itself for all."""
    return {*_help([]), *_help([command])}


@cache
def _printed(argv: tuple[str, ...]) -> str:
    from flowedit.cli.main import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
        main([*argv, "--help"])
    return out.getvalue()


def _help(argv: list[str]) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", _printed(tuple(argv))))


@cache
def configuration() -> set[str]:
    """Every key of conf/, dotted; read as plain YAML, without Hydra."""
    found = set(RENAMED)
    for file in (ROOT / "conf").rglob("*.yaml"):
        text, place = file.read_text(encoding="utf-8"), file.relative_to(ROOT / "conf")
        values = {key: value for key, value in yaml.safe_load(text).items() if key not in ("defaults", "hydra")}
        if len(place.parts) > 1 and place.parts[0] != "pocket":
            found.add(place.parts[0])
            if "@package _global_" not in text:
                values = {place.parts[0]: values}
        if place.parts[0] != "pocket":
            found |= dotted(values)
    return found


def dotted(values: dict, prefix: str = "") -> set[str]:
    found = set()
    for key, value in values.items():
        found.add(prefix + key)
        if isinstance(value, dict):
            found |= dotted(value, f"{prefix}{key}.")
    return found
