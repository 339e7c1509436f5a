"""What a sweep varies, and the rows and columns that its results stand in."""

import pytest

from flowedit.evaluation.sweeps.lattice import Lattice, arranged, lattices, points, swept

BOTH = {"strength": ["0.5", "0.9"], "seed": ["0", "1", "2"]}


def named(bases, sweep):
    return [" ".join([base, *point]) for base in bases for point in points(sweep)]


def test_a_sweep_is_read_with_values_in_brackets_and_none_twice():
    texts = ["strength=0.5, 0.9,0.5", "guidance_interval=[0,1],[0,0.5]"]
    assert swept(texts) == {"strength": ["0.5", "0.9"], "guidance_interval": ["[0,1]", "[0,0.5]"]}
    assert points({}) == [()]
    assert points(BOTH)[:2] == [("strength=0.5", "seed=0"), ("strength=0.5", "seed=1")]


@pytest.mark.parametrize(
    ("texts", "given", "said"),
    [
        (["strength"], (), "is no key with its values: write --sweep strength=0.5,0.7,0.9"),
        (["strength="], (), "is no key with its values"),
        (["=1,2"], (), "is no key with its values"),
        (["seed=1", "seed=2"], (), "--sweep seed is there twice"),
        (["seed=1,2"], ("seed",), "seed is set and swept"),
    ],
)
def test_what_is_no_sweep_is_refused(texts, given, said):
    with pytest.raises(ValueError, match=said):
        swept(texts, given)


def test_one_key_is_a_row_of_each_method_two_are_a_lattice_of_each():
    one = {"seed": ["0", "1"]}
    assert lattices(named("ab", one), one) == (
        Lattice("", ("a", "b"), ("seed=0", "seed=1"), (("a seed=0", "a seed=1"), ("b seed=0", "b seed=1"))),
    )
    first, second = lattices(named(["a", "b x=1"], BOTH), BOTH)
    assert (first.title, second.title) == ("a", "b x=1")
    assert second.rows == ("strength=0.5", "strength=0.9")
    assert second.columns == ("seed=0", "seed=1", "seed=2")
    assert second.cells[1][2] == "b x=1 strength=0.9 seed=2"
    assert lattices(["a"], {}) == ()


def test_three_keys_are_a_lattice_for_each_value_of_the_first():
    three = {"draws": ["1", "2"], **BOTH}
    made = lattices(named("a", three), three)
    assert [each.title for each in made] == ["a draws=1", "a draws=2"]
    assert [name for each in made for row in each.cells for name in row] == named("a", three)


def test_an_edits_own_names_stand_in_rows_too():
    names = [f"seed-{seed}-strength-{strength}" for seed in "12" for strength in (".5", ".7")]
    (made,) = arranged(names, [""], {"seed": ["1", "2"], "strength": [".5", ".7"]})
    assert made == Lattice(
        "", ("seed=1", "seed=2"), ("strength=.5", "strength=.7"), (tuple(names[:2]), tuple(names[2:]))
    )
