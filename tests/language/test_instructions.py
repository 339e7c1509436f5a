"""An instruction in plain English: what is read, what is refused, and the prompts that a caption becomes by it."""

import contextlib
import subprocess
import sys

import pytest

from flowedit.language import grammar, rewrite, words
from flowedit.language.english import article
from flowedit.language.grammar import parse
from flowedit.language.rewrite import resolve
from flowedit.messages import InputError
from flowedit.pocket import truth
from flowedit.pocket.world import EVERYTHING, GROUNDS, MOTIONS, draw, stream

READ = {  # text: (kind, old, new) of each change
    "replace the fox with a panda": [("replace", "the fox", "a panda")],
    "Please swap the dog for a cat, thanks!": [("replace", "the dog", "a cat")],
    "Could you turn the red car into a blue bus?": [("replace", "the red car", "a blue bus")],
    "I want the dog to be a cat": [("replace", "the dog", "a cat")],
    "I'd like you to transform the two dogs into cats, please": [("replace", "the two dogs", "cats")],
    "put a panda in place of the fox": [("replace", "the fox", "a panda")],
    "a panda instead of the fox": [("replace", "the fox", "a panda")],
    "instead of the fox I want a panda": [("replace", "the fox", "a panda")],
    "Would you mind replacing the fox with a panda in this video?": [("replace", "the fox", "a panda")],
    "REPLACE THE FOX WITH A PANDA!": [("replace", "the fox", "a panda")],
    'change the "old dog" to a big, fat wolf.': [("replace", "the old dog", "a big fat wolf")],
    "swap the fox for a panda, but keep the background": [("replace", "the fox", "a panda")],
    "remove the fox and put a panda in its place": [("replace", "the fox", "a panda")],
    "make the dog in this clip look like a lion": [("replace", "the dog", "a lion")],
    "substitute a panda for the fox": [("replace", "the fox", "a panda")],
    "please turn the fox into an orange": [("replace", "the fox", "an orange")],
    "replace both dogs with black and white cats": [("replace", "both dogs", "black and white cats")],
    "remove the ball": [("remove", "the ball", "")],
    "get rid of the two dogs on the left": [("remove", "the two dogs", "")],
    "Can you please take out the old man from the video?": [("remove", "the old man", "")],
    "make the fox disappear": [("remove", "the fox", "")],
    "add a car that moves left": [("add", "", "a car that moves left")],
    "can you add some snow to the scene?": [("add", "", "some snow")],
    "make the car red": [("recolour", "the car", "red")],
    "make the orange blue": [("recolour", "the orange", "blue")],
    "recolor the car dark grey": [("recolour", "the car", "dark grey")],
    "change the colour of the car from blue to red": [("recolour", "blue car", "red")],
    "replace the car with a red one": [("recolour", "the car", "red")],
    "make the cat bigger": [("resize", "the cat", "big")],
    "make it look like a watercolour": [("restyle", "", "a watercolour")],
    "render it in the style of Van Gogh": [("restyle", "", "Van Gogh")],
    "turn the video into an anime": [("restyle", "", "an anime")],
    "make it black & white": [("restyle", "", "black and white")],
    "make it night": [("restyle", "", "night")],
    "please change the time of day to night": [("restyle", "", "night")],
    "make it snowy": [("restyle", "", "snowy")],
    "let it snow": [("restyle", "", "snow")],
    "give the dog a hat": [("add", "", "a hat")],
    "give the old dog red sunglasses": [("add", "", "red sunglasses")],
    "give the dog a hat and the cat a scarf": [("add", "", "a hat"), ("add", "", "a scarf")],
    "draw a little girl": [("add", "", "a little girl")],
    "add a lot of balloons": [("add", "", "a lot of balloons")],
    "change the cat to be a little bigger": [("resize", "the cat", "big")],
    "put the fox in Paris": [("background", "", "Paris")],
    "put the fox in deep snow": [("background", "", "deep snow")],
    "put the fox in front of skyscrapers": [("background", "", "skyscrapers")],
    "change the background of the video to a beach": [("background", "", "a beach")],
    "put it in a snowy forest": [("background", "", "a snowy forest")],
    "replace the background with a dark night": [("background", "", "a dark night")],
    "replace the fox with a panda and the car with an apple": [
        ("replace", "the fox", "a panda"),
        ("replace", "the car", "an apple"),
    ],
    "replace the fox with a panda, and also make the car red": [
        ("replace", "the fox", "a panda"),
        ("recolour", "the car", "red"),
    ],
    "remove the fox, the ball and the car": [("remove", f"the {old}", "") for old in ("fox", "ball", "car")],
}

UNREAD = [
    *("gibberish", "a fox runs", "what is in this video?", "is the fox red?", "please", "", "???"),
    *("replace the fox", "replace with a panda", "replace the fox with something else", "replace the fox with a fox"),
    *(
        "don't replace the fox with a panda",
        "replace it with a panda",
        "turn it into a cat",
        "make it red",
        "remove it",
    ),
    *("remove the background", "change the background", "remove everything", "make it look better", "add music"),
    *("make the fox run faster", "make the man wear a hat", "put the cup on the table", "swap the fox and the car"),
    *("put the fox to sleep", "Put The Fox To Sleep", "set the fox on fire", "put it in slow motion", "put it on hold"),
    *("put the fox in a hat", "move the fox to a corner", "put the fox at ease", "put an end to the fox"),
    *("draw attention to the fox", "draw a lot of attention to the fox", "place more emphasis on the fox"),
    *("put more weight on the fox", "add more drama", "add a little more contrast", "give the dog a bath"),
    *("give her a hat", "give the fox and the dog a hat", "change the fox to be a little bit more like a panda"),
    *("the fox should be more like a panda", "turn the fox into more of a panda", "change the fox to be fluffy"),
    *("replace the fox with a panda or a bear", "crop the video", "slow down the video", "zoom in on the fox"),
]


@pytest.mark.parametrize("text", READ)
def test_natural_wording_is_read(text):
    assert [(change.kind, change.old, change.new) for change in parse(text).changes] == READ[text]


@pytest.mark.parametrize("text", UNREAD)
def test_what_cannot_be_read_is_refused_with_three_examples(text):
    with pytest.raises(ValueError, match="is not an instruction") as refusal:
        parse(text)
    said = str(refusal.value)
    assert "\n" not in said
    for example in ("replace the fox with a panda", "remove the ball", "make the car red"):
        assert repr(example) in said
        parse(example)


@pytest.mark.parametrize(
    "text",
    [
        "replace the fox with a panda and remove the ball",
        "remove the fox and change the background to a beach",
        "make the car red and make it look like a watercolour",
    ],
)
def test_changes_of_several_kinds_are_refused(text):
    with pytest.raises(ValueError, match="at once: make one edit of each"):
        parse(text)


@pytest.mark.parametrize("text", READ)
def test_plain_prompts_are_their_own_caption_and_hold_their_words(text):
    plain = resolve(parse(text))
    assert resolve(parse(text), plain.source) == plain
    assert plain.source != plain.target
    for side in ("source", "target"):
        words.occurrences(getattr(plain, side), getattr(plain, f"{side}_words"), f"{side}_words")


def test_plain_prompts():
    said = {text: resolve(parse(text)) for text in READ}
    fox = said["replace the fox with a panda"]
    assert fox == rewrite.Prompts("a fox", "a panda", "fox", "panda", "replace")
    dogs = said["I'd like you to transform the two dogs into cats, please"]
    assert (dogs.source, dogs.target) == ("two dogs", "two cats")
    both = said["replace the fox with a panda and the car with an apple"]
    assert (both.source, both.source_words, both.target_words) == ("a fox and a car", "fox, car", "panda, apple")
    ball = said["remove the ball"]
    assert (ball.target, ball.target_words, ball.task) == ("nothing", "", "remove")
    assert said["add a car that moves left"].task == "add"


CUP = "A hand is holding a black cup in front of a white wall."
RESOLVED = [  # instruction, caption, target, source words, target words
    ("replace the cup with a red teapot", CUP, CUP.replace("black cup", "red teapot"), "black cup", "red teapot"),
    ("remove the cup", CUP, "A hand is in front of a white wall.", "black cup", ""),
    ("make the hand blue", CUP, CUP.replace("A hand", "A blue hand"), "hand", "blue hand"),
    ("replace the fox with an owl", "A fox runs.", "An owl runs.", "fox", "owl"),
    ("replace the fox with a panda", "a tiny fox runs", "a tiny panda runs", "tiny fox", "tiny panda"),
    ("replace the tiny fox with a panda", "a tiny fox runs", "a panda runs", "tiny fox", "panda"),
    ("replace the wolf with a red fox", "A big grey wolf runs.", "A red fox runs.", "big grey wolf", "red fox"),
    ("replace the gray wolf with a cat", "a grey wolf runs", "a cat runs", "grey wolf", "cat"),
    ("replace the dog with a cat", "Two dogs run.", "Two cats run.", "dogs", "cats"),
    ("replace the dogs with cats", "a dog runs", "a cat runs", "dog", "cat"),
    ("replace the dog with a cat", "a dog runs and the dog jumps", "a cat runs and the cat jumps", "dog", "cat"),
    ("replace the car with sand", "over a car", "over sand", "car", "sand"),
    ("replace the blue sky with green grass", "over a blue sky", "over green grass", "blue sky", "green grass"),
    ("replace the red car with a bus", "a red car and a blue car", "a bus and a blue car", "red car", "bus"),
    (
        "replace the fox with a panda and the panda with a fox",
        "a fox chases a panda",
        "a panda chases a fox",
        "fox, panda",
        "panda, fox",
    ),
    ("replace the man with a woman wearing a hat", "a man", "a woman wearing a hat", "man", "woman"),
    ("replace the ball with a gold ring", "a ball", "a gold ring", "ball", "gold ring"),
    ("remove the dog", "a dog runs on the beach", "an empty beach", "dog", ""),
    ("remove the dog", "a man walks a dog on the beach", "a man walks on the beach", "dog", ""),
    ("remove the dog", "a man with a dog walks", "a man walks", "dog", ""),
    ("remove the dog", "a man sits at a table and a dog sleeps on a sofa", "a man sits at a table", "dog", ""),
    ("remove the dog", "a dog and a cat play", "a cat play", "dog", ""),
    ("remove the dog", "a dog runs", "nothing", "dog", ""),
    ("remove the dog and the ball", "a dog plays with a ball", "nothing", "dog, ball", ""),
    *(
        (
            "remove the people in the background",
            f"a dog runs {joint} walk in the background",
            "a dog runs",
            "people",
            "",
        )
        for joint in ("while people", "as people", "and people", "while the people")
    ),
    ("remove the people", "a dog runs while business people walk by", "a dog runs", "people", ""),
    ("remove the people", "While people walk, a dog runs.", "A dog runs.", "people", ""),
    ("remove the dog", "a dog runs while people walk", "people walk", "dog", ""),
    ("remove the dog", "a man cooks while a dog sleeps on the sofa", "a man cooks", "dog", ""),
    ("remove the dog", "a man sits while holding a dog", "a man sits", "dog", ""),
    ("remove the pirates", "two men dressed as pirates walk", "two men walk", "pirates", ""),
    ("remove the man", "a man in jeans and boots walks on the beach", "an empty beach", "man", ""),
    ("give the dog a hat", "a dog runs", "a dog with a hat runs", "", "hat"),
    ("give the dog a hat", "a dog with a red ball runs", "a dog with a hat and a red ball runs", "", "hat"),
    ("make it night", "A fox runs.", "A fox runs, at night.", "", ""),
    ("make it night", "a fox runs by day over sand", "a fox runs at night over sand", "", ""),
    ("make it snowy", "a fox runs over white snow", "a fox runs over white snow, in falling snow", "", ""),
    ("add a hat on the man", "A man sits.", "A man sits, with a hat on the man.", "", "hat"),
    ("add a bird flying", "a man walks on a beach", "a man walks and a bird is flying on a beach", "", "bird"),
    ("add a painting", "a man walks", "a man walks, with a painting", "", "painting"),
    ("add a car", "nothing over sand", "a car over sand", "", "car"),
    ("make it look like an oil painting", "A man.", "A man, in the style of an oil painting.", "", ""),
    ("make it black and white", "A man.", "A man, in black and white.", "", ""),
    ("change the background to a beach", "A fox runs in a forest.", "A fox runs on a beach.", "forest", "beach"),
    ("put the fox on the moon", "A fox runs.", "A fox runs on the moon.", "", ""),
]


@pytest.mark.parametrize(("text", "caption", "target", "source_words", "target_words"), RESOLVED)
def test_a_caption_with_what_changes_changed(text, caption, target, source_words, target_words):
    made = resolve(parse(text), caption)
    assert (made.source, made.target) == (caption, target)
    assert (made.source_words, made.target_words) == (source_words, target_words)
    words.occurrences(made.source, made.source_words)
    words.occurrences(made.target, made.target_words)


@pytest.mark.parametrize(
    ("text", "caption", "says"),
    [
        ("remove the dog", "a fox runs over sand", "'dog' is not in the caption .* words are: fox, runs, sand"),
        ("remove the red fox", "a fox runs", "'red fox' is not in the caption"),
        ("remove the car", "a red car and a blue car", "2 times, as 'red car', 'blue car': say which"),
        ("give the dog a hat", "a fox runs", "'dog' is not in the caption"),
        ("make it day", "over a dark night", "'in daylight' beside 'night' in the caption"),
        ("make it night", "a fox runs at night", "says 'at night' already"),
        ("put the dog in a forest", "a fox runs", "'dog' is not in the caption"),
        ("replace the fox with a cat and make the fox red", "a fox runs", "changed twice"),
    ],
)
def test_what_the_caption_does_not_hold(text, caption, says):
    with pytest.raises(ValueError, match=says):
        resolve(parse(text), caption)


def asked(kind, before, after, edited):
    """Instructions for a true edit of the pocket world, and the words that it names."""
    old = [before.things[i] for i in edited if i < len(before.things)]
    new = [after.things[i] for i in edited if i < len(after.things)]
    named = ", ".join(thing.words for thing in old), ", ".join(thing.words for thing in new)
    if kind.startswith("replace"):
        pairs = list(zip(old, new, strict=True))
        yield "replace " + " and ".join(f"the {a.words} with {article(b.words)} {b.words}" for a, b in pairs), *named
        yield "please turn " + ", ".join(f"the {a.kind} into {article(b.kind)} {b.kind}" for a, b in pairs), *named
    elif kind == "recolour":
        yield f"make the {old[0].kind} {new[0].tint}", *named
        yield f"change the colour of the {old[0].words} to {new[0].tint}", *named
    elif kind == "resize":
        yield f"make the {old[0].kind} {new[0].size}", *named
    elif kind == "remove":
        yield f"remove the {old[0].words}", *named
        yield f"could you get rid of the {old[0].kind}?", *named
    elif kind == "add":
        yield f"add {article(new[0].words)} {new[0].words} that {MOTIONS[new[0].motion]}", *named
    else:
        was, wanted = (GROUNDS[side.ground] for side in (before, after))
        named = was.removeprefix("a "), wanted.removeprefix("a ")
        yield f"change the background to {wanted}", *named
        yield f"replace the {named[0]} with {wanted}", *named


@pytest.mark.parametrize("kind", truth.KINDS)
def test_true_edits_of_the_pocket_world_come_out_as_their_captions(kind):
    """Over scenes of the whole world; the specs are those of `truth.edit`, which renders them as well."""
    for seed in range(150):
        before = draw(seed, EVERYTHING, things=truth.KINDS[kind])
        after, edited = truth._changed(before, kind, EVERYTHING, stream(seed, "edit", kind))
        for text, source_words, target_words in asked(kind, before, after, edited):
            made = resolve(parse(text), before.caption)
            wanted = (before.caption, after.caption, source_words, target_words)
            assert (made.source, made.target, made.source_words, made.target_words) == wanted, text


def test_either_of_two_objects_is_removed_as_the_world_has_it():
    for seed in range(150):
        spec = draw(seed, EVERYTHING, things=2)
        for index, thing in enumerate(spec.things):
            made = resolve(parse(f"remove the {thing.kind}"), spec.caption)
            assert made.target == truth._gone(spec, index).caption


def test_nothing_heavy_is_needed():
    script = (
        "import sys; from flowedit.language.grammar import parse; from flowedit.language.rewrite import resolve;"
        "resolve(parse('remove the ball'), 'a ball rolls')\n"
        "print([m for m in ('torch', 'hydra', 'numpy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text",
    [
        *(
            joint.join(["replace the fox with a panda"] * 12)
            for joint in (" and ", ", ", "; ", ". ", " then ", " and then ")
        ),
        *(joint.join(["make the fox red"] * 25) for joint in (" and ", "; ", " , ")),
        "remove the fox then " * 20,
        "replace " + "the fox, " * 20 + "with a panda",
        "turn the " + "a " * 400 + "into to to",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_the_work_of_reading_is_bounded(text, monkeypatch):
    tried = []
    grammar._one.cache_clear()
    grammar._changes.cache_clear()
    monkeypatch.setattr(
        grammar, "_made", lambda kind, found, made=grammar._made: tried.append(kind) or made(kind, found)
    )
    with contextlib.suppress(InputError):
        grammar.parse(text)
    assert len(tried) < 3000


def test_what_is_too_long_to_be_an_instruction_is_refused_by_its_length():
    with pytest.raises(InputError, match="is 2900 letters long, an instruction at most 1000"):
        parse("replace the fox with a panda " * 100)
    with pytest.raises(InputError, match="asks for too much at once"):
        parse("remove a, " * 30)


@pytest.mark.parametrize(
    ("caption", "instruction", "source", "target", "words", "also"),
    [
        ("a fox runs over sand", "remove the fox and its shadow", "a fox with its shadow runs over sand",
         "nothing over sand", "fox", "shadow"),
        ("a fox with its shadow runs over sand", "erase the fox along with its shadow",
         "a fox with its shadow runs over sand", "nothing over sand", "fox", "shadow"),
        ("a dog and a cat run on a beach", "remove the dog and the cat, and their shadows and reflections",
         "a dog and a cat with their shadows and reflections run on a beach", "an empty beach", "dog, cat",
         "shadows, reflections"),
        ("a dog runs on a beach with a long shadow", "remove the dog with its shadow",
         "a dog runs on a beach with a long shadow", "an empty beach", "dog", "long shadow"),
        ("a fox with its shadow and a car with its shadow stand on sand", "remove the fox and its shadow",
         "a fox with its shadow and a car with its shadow stand on sand", "a car with its shadow stand on sand", "fox",
         "shadow"),
        (None, "take out the fox and its reflection", "a fox with its reflection", "nothing", "fox", "reflection"),
        ("a dog and its shadow on a beach", "remove the shadow", "a dog and its shadow on a beach",
         "a dog on a beach", "shadow", ""),
    ],
)  # fmt: skip
def test_what_goes_along_with_a_removed_object_is_named_beside_it(caption, instruction, source, target, words, also):
    made = rewrite.read_instruction(caption, instruction)
    assert made == rewrite.Prompts(source, target, words, "", "remove", also)
    assert rewrite.read_instruction(made.source, instruction) == made  # what is complete stays as it is


def test_an_instruction_is_read_from_python_without_a_clip():
    import flowedit

    made = flowedit.read_instruction("a fox moves right over green grass", "replace the fox with a panda")
    assert made == flowedit.Prompts(
        "a fox moves right over green grass", "a panda moves right over green grass", "fox", "panda", "replace"
    )
    alone = flowedit.read_instruction(None, "remove the ball")
    assert (alone.source, alone.source_words, alone.target_words, alone.task) == ("a ball", "ball", "", "remove")
    assert "ball" not in alone.target
    with pytest.raises(flowedit.InputError, match="dog"):
        flowedit.read_instruction("a fox runs", "replace the dog with a panda")
    with pytest.raises(flowedit.InputError, match="is not an instruction"):
        flowedit.read_instruction("a fox runs", "panda")
