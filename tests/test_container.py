"""The container's recipe holds together: no engine builds it here, so it is read."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from flowedit.cli import main

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "scripts" / "container" / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in turn, each with its words on one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", FILE.read_text(encoding="utf-8")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def values(name: str) -> list[str]:
    """What all instructions of a name say."""
    return [rest for word, rest in instructions() if word == name]


def sent() -> list[str]:
    """What the build is sent: the exceptions of the ignore file, which begins by leaving out all."""
    lines = (FILE.parent / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return [rule[1:] for rule in rules if rule.startswith("!")]


def copied() -> list[str]:
    """What is copied from the checkout."""
    found = [shlex.split(rest) for rest in values("COPY") if "--from" not in rest]
    return [source for words in found for source in words[:-1]]


def test_what_is_copied_is_there_and_is_sent():
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert any(source == rule or source.startswith(f"{rule}/") for rule in sent()), source
    assert {source for source in sent() if not (ROOT / source).exists()} == set()


def test_what_the_wheel_is_made_of_is_copied():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hatch = told["tool"]["hatch"]
    wheel = hatch["build"]["targets"]["wheel"]
    needed = [*wheel["packages"], *wheel["force-include"], hatch["metadata"]["hooks"]["custom"]["path"]]
    for name in ["pyproject.toml", "README.md", *told["project"]["license-files"], *needed]:
        assert any(name == source or name.startswith(f"{source}/") for source in copied()), name


def test_its_bases_are_named_and_its_user_is_ordinary():
    for base in values("FROM"):
        image, _, tag = base.split()[0].partition(":")
        assert re.fullmatch(r"3\.\d+-slim", tag), base
        assert (image, fnmatch(tag, "*latest*")) == ("python", False)
    last = [word for word, _ in instructions()]
    assert values("USER")[-1] not in ("root", "0")
    assert len(last) - last[::-1].index("RUN") <= last.index("USER")  # nothing is installed after it
    assert "ADD" not in last


def test_it_runs_flowedit_and_listens_where_the_studio_does(monkeypatch):
    monkeypatch.setenv("FLOWEDIT_PASSWORD", "a word")
    port = str(yaml.safe_load((ROOT / "conf" / "studio.yaml").read_text(encoding="utf-8"))["port"])
    assert values("EXPOSE") == [port]
    assert f"'127.0.0.1', {port}" in values("HEALTHCHECK")[0]
    assert json.loads(values("ENTRYPOINT")[0]) == ["flowedit"]
    asked = main._parse(json.loads(values("CMD")[0]))
    assert (asked.host, asked.open) == ("0.0.0.0", False)


@pytest.mark.parametrize("name", ["VOLUME", "WORKDIR"])
def test_its_folders_are_made_for_every_user(name):
    (made,) = [run for run in values("RUN") if "install -d -m 1777" in run]
    for place in json.loads(values(name)[-1]) if name == "VOLUME" else values(name)[-1:]:
        assert f" {place} " in made
