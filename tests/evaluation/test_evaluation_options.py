"""The options of an evaluation: each has its help, its line in conf/, and its range."""

import subprocess
import sys

import pytest

from flowedit.declare import options_of
from flowedit.evaluation.options import EngineOptions, EvaluationOptions, evaluation, evaluation_keys


def test_every_option_has_its_line_in_conf_and_every_line_its_option():
    assert {*options_of(EvaluationOptions), "engine"} == set(evaluation_keys())


@pytest.mark.parametrize("kind", [EvaluationOptions, EngineOptions])
def test_every_option_says_what_it_is_and_what_to_type(kind):
    for name, option in options_of(kind).items():
        assert option.help, name
        assert option.typed or name == "engine", name
        assert "\n" not in option.help, name


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"scenes": 0}, "scenes 0 is out of range: at least 1"),
        ({"first_seed": -1}, "first_seed -1 is out of range: at least 0"),
        ({"evaluations": 0}, "evaluations 0 is out of range: own, equal, or a number from 1 up"),
        ({"edits": ["a=b", "theirs="]}, r"edits \['a=b', 'theirs='\] is out of range: NAME=DIR, a method's name"),
        ({"engine.workers": 0}, "engine.workers 0 is out of range: at least 1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(flags, expected):
    with pytest.raises(ValueError, match=f"^{expected}"):
        evaluation(flags)


def test_the_options_bring_no_torch():
    code = "import sys, flowedit.evaluation.options; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
