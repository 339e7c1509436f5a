"""Every option is declared once: a field with its range and help, and a line in conf/ with the same words."""

import re
import subprocess
import sys
from dataclasses import fields, is_dataclass, make_dataclass
from pathlib import Path

import pytest
import yaml

from flowedit.app.options import StudioOptions
from flowedit.config import compose, defaults
from flowedit.config.options import build, check_ranges, declared, hint_of
from flowedit.config.quality import at_quality
from flowedit.config.schema import Settings
from flowedit.declare import Option, option, options_of
from flowedit.editors.spec import EDITORS, ModeOptions
from flowedit.evaluation.options import EngineOptions, EvaluationOptions
from flowedit.messages import InputError
from flowedit.pipeline.notices.unused import facts_of
from flowedit.pipeline.plan import brief

CONF = Path(__file__).resolve().parents[2] / "conf"
UNSAID = ("mode.name", "mode.preset")  # what mode=NAME chooses
OURS = {name: spec.options for name, spec in EDITORS.items()}
PLACES = {
    "edit.yaml": (Settings, "", None),
    "mask/attention.yaml": (hint_of(Settings, "mask"), "mask.", None),
    "attention/none.yaml": (hint_of(Settings, "attention"), "attention.", None),
    "runtime/auto.yaml": (hint_of(Settings, "runtime"), "runtime.", None),
    "averaging/differential.yaml": (hint_of(Settings, "averaging"), "averaging.", "averaging"),
    "studio.yaml": (StudioOptions, "", None),
    "evaluate.yaml": (EvaluationOptions, "", None),
    "engine/local.yaml": (EngineOptions, "engine.", None),
    "engine/ray.yaml": (EngineOptions, "engine.", None),
    **{f"mode/{name}.yaml": (cls, "mode.", "mode") for name, cls in OURS.items()},
}


def lines_of(name, group):
    """Key → comment of the lines of a file of conf/, of one mapping in it or of its top."""
    lines, inside = {}, group is None
    for line in (CONF / name).read_text(encoding="utf-8").splitlines():
        if group is not None and re.match(r"\w", line):
            inside = line.startswith(f"{group}:")
        found = re.match(rf"{'' if group is None else '  '}(\w+): +\S.*?  *# (.*)$", line)
        if found and inside:
            lines[found[1]] = found[2]
    return lines


@pytest.mark.parametrize("name", PLACES)
def test_every_field_has_its_line_and_the_line_says_what_the_field_says(name):
    cls, prefix, group = PLACES[name]
    common = set(options_of(ModeOptions)) if prefix == "mode." else set()
    fields = {
        key: each.help
        for key, each in options_of(cls).items()
        if key not in common and not is_dataclass(hint_of(cls, key)) and key != "task"
    }
    assert fields
    assert lines_of(name, group) == fields


def test_the_grid_that_all_modes_share_has_its_lines_in_the_edit():
    shared = {key: each.help for key, each in options_of(ModeOptions).items() if f"mode.{key}" not in UNSAID}
    assert lines_of("edit.yaml", "mode") == shared


def test_every_key_of_the_configuration_is_an_option():
    known = {each.key for each in declared(Settings)} | {"mode"}
    for name, cls in OURS.items():
        keys = compose.walked({k: v for k, v in compose.composed((f"mode={name}",)).items() if k != "hydra"})
        own = {f"mode.{key}" for key in options_of(cls)}
        assert set(keys) <= known | own, name
        assert own - {"mode.preset"} <= set(keys), name


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_file_of_conf_is_yaml(path):
    assert path.parent.name == "pocket" or isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_what_an_option_needs_is_a_fact_or_another_option():
    facts = facts_of(brief(compose.compose({"source": "a", "target": "b"})))
    keys = {each.key for each in declared(Settings)} | {
        each.key for cls in OURS.values() for each in declared(cls, "mode.")
    }
    every = [*declared(Settings), *(each for cls in OURS.values() for each in declared(cls, "mode."))]
    for each in every:
        for need in (each.option.needs or "").split(" and "):
            found = re.fullmatch(r"([\w.]+)(=|>)\S+", need)
            assert not need or (found[1] in keys if found else need in facts), (each.key, need)


def test_help_defaults_are_those_of_conf():
    composed, plain = (
        at_quality(compose.composed(chosen), ModeOptions, ()) for chosen in ((), ("backbone=cogvideox-2b",))
    )
    for key in options_of(Settings):
        own, small = defaults.default_of(key)
        if key not in compose.GROUPS and key not in ("clip", "task", "runtime"):
            assert own == plain[key], key
            assert (small[1] if small else own) == composed[key], key


@pytest.mark.parametrize(
    ("about", "good", "bad", "says"),
    [
        ({"least": 0, "most": 1}, (0, 1, 0.5, None), (-0.1, 1.1), "0 to 1"),
        ({"least": 1}, (1, 7, None), (0,), "at least 1"),
        ({"above": 0, "below": 2}, (1,), (0, 2), "above 0 and below 2"),
        ({"least": 0, "most": 9, "check": bool}, ((1, 2),), ((1, 10), ()), "0 to 9 each"),
        ({"expected": "auto or a number", "least": 3}, ("auto", 3), (2,), "auto or a number"),
    ],
)
def test_ranges(about, good, bad, says):
    declaration = Option("help", **about)
    assert all(declaration.refusal(value) is None for value in good)
    assert all(declaration.refusal(value) == says for value in bad)


def test_a_value_is_of_its_type_and_within_its_range():
    cls = make_dataclass("Own", [("n", int, option("how many", least=1)), ("x", float, option("how far", default=2.0))])
    assert (build(cls, {"n": 3}).n, build(cls, {"n": 3}).x) == (3, 2.0)
    for values, says in (
        ({"n": 0}, "own.n 0 is out of range: at least 1"),
        ({"n": "a"}, "own.n 'a' is not a whole number"),
        ({"n": True}, "own.n True is not a whole number"),
        ({}, "own.n is missing: give N"),
    ):
        with pytest.raises(InputError, match=says):
            build(cls, values, "own.")
    with pytest.raises(InputError, match="n 0 is out of range"):
        check_ranges(cls(n=0))


@pytest.mark.parametrize("old", ["guidance=differential", "guidance.weight=1"])
def test_an_old_name_is_taken_for_the_new_one_and_says_so(old):
    with pytest.warns(FutureWarning, match=r"guidance\S* is called averaging\S* now: write averaging"):
        settings = compose.compose({"averaging": "differential", "draws": 4}, [old])
    assert settings.averaging.name == "differential"


def test_help_is_quick_and_light():
    script = (
        "import sys, time; start = time.perf_counter(); from flowedit.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'hydra', 'omegaconf', 'numpy', 'rich') if m in sys.modules])"
    )
    for command in ("edit", "generate", "compare", "evaluate", "bench", "list"):
        done = subprocess.run([sys.executable, "-c", script, command], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]", command


def test_dataclasses_of_options_declare_all_their_fields():
    for cls in (Settings, EvaluationOptions, EngineOptions, *OURS.values(), *(PLACES[name][0] for name in PLACES)):
        assert {field.name for field in fields(cls)} == set(options_of(cls)), cls
