"""What is refused, and why: before a backbone is there, and once it is known."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from flowedit.backbones import families, memory, presets, shapes
from flowedit.backbones.weights.asked import overlay
from flowedit.config.schema import Settings
from flowedit.editors.averaging import check_draws
from flowedit.editors.spec import EDITORS, check_whole_steps
from flowedit.flow import schedule
from flowedit.language import words
from flowedit.language.tasks import TASKS
from flowedit.masks import marks
from flowedit.media import cuts
from flowedit.media.formats.resolve import check_file
from flowedit.messages import FileMissingError, InputError, listed
from flowedit.pipeline.logs import asked
from flowedit.pipeline.plan import Brief, brief, load_of, told, whole_grid
from flowedit.pipeline.prompts.several import attention_of, clashes
from flowedit.pipeline.source import Clip
from flowedit.pocket import Vocabulary, unknown_words
from flowedit.pocket.world import GROUNDS, MOTIONS
from flowedit.pretrained import layout
from flowedit.types import Backbone, BackboneSpec
from flowedit.upscaling.asked import asked as upscaler

STRIP = 16
"""How many times as long as the other a side of a clip may be."""

PROMPTS = ("source", "target", "negative_prompt", "target_negative_prompt")

SHADES = {"shadow", "shadows", "reflection", "reflections"}
ALONG = 'leave the word out, and add "mask.grow=0.1 down:0.5" or mask.dependents=0.5, which need none'
"""What is said of words for what goes with an object, and that a model never learned."""

ELSEWHERE = "other words need a full-size model: --backbone NAME (flowedit doctor CLIP says which fits this machine)"
"""What to type where a small backbone never learned a word."""


def check(settings: Settings, clip: Clip) -> Brief:
    """The brief; raises InputError or FileError for what can be refused without a backbone, so before a download."""
    if settings.target is None or not settings.target.strip():
        raise InputError(
            'no target prompt: say what to change, flowedit edit CLIP "replace the fox with a panda", or what the clip '
            "should show (--target)"
        )
    made = brief(settings)
    if settings.source is None and made.reads_source:
        raise InputError("no source prompt: say what the clip shows (--source)")
    check_brief(made)
    if settings.user_mask is not None and not Path(settings.user_mask).exists():
        raise FileMissingError(f"mask {settings.user_mask} does not exist: check its path")
    marks.check(settings.marks, clip.video.shown, len(clip.selection.indices))
    cuts.check(settings.cuts, len(clip.selection.indices))
    check_shape(clip)
    check_file(settings.file, clip.video, clip.selection, memory.of_host()[0])
    if (spec := shapes.known(settings.backbone)) is not None:  # before it is opened or downloaded
        check_still(settings, spec, len(clip.selection.indices))
        made = told(made, spec)
        check_means(made, spec)
    asked.check(settings)
    if settings.upscale is not None:
        upscaler(settings.upscale)
    overlay(settings.lora, settings.backbone.transformer, settings.backbone.transformer_2)
    check_editor(made, made.steps)
    check_learned(settings, families.folder(settings.backbone))
    return made


def check_brief(made: Brief) -> None:
    """Raise InputError for what no backbone and no clip is needed to refuse: words, steps, what the editor cannot."""
    if made.settings.mode.grid == "given":
        schedule.given(made.settings.mode.times)
    if steps := whole_grid(made.settings):
        schedule.check_run(made.steps, steps, made.settings.strength)
    check_words(made.settings)
    check_kind(made)
    check_region(made)
    check_attention(made)
    check_guidance(made)
    check_difference(made)


def check_kind(made: Brief) -> None:
    """Raise InputError for a mask or parts of the target that the editor does not take, with those that do.

    And for an editor that is nothing without a mask, for parts beside scales of several objects, and for empty parts.
    """
    settings, editor, name = made.settings, made.editor, made.settings.mode.name
    masked, parts = made.masked, settings.target_parts or ()
    if masked and not editor.masked:
        able = listed([other for other, each in EDITORS.items() if each.masked])
        raise InputError(f"mode={name} takes no mask: set mask=none and no user mask, or choose one of {able}")
    if editor.needs_mask and not masked:
        raise InputError(f"mode={name} needs a mask: give words of what changes, mask=difference, or a user mask")
    if parts and editor.parts == "none":
        able = listed([other for other, each in EDITORS.items() if each.parts != "none"])
        raise InputError(f"mode={name} takes no target_parts: leave them out, or choose one of {able}")
    if parts and made.own_scales:
        raise InputError("target_parts and object_guidance_scales do not go together: leave one out")
    if not all(part.strip() for part in parts):
        raise InputError("target_parts has an empty prompt: give each part of the target as a whole prompt")


def check_region(made: Brief) -> None:
    """Raise InputError for a region pass by several processes or devices: it packs the rows of one call of one."""
    runtime = made.settings.runtime
    shared = {"context_parallel": runtime.context_parallel > 1, "split_guidance": runtime.split_guidance is not None}
    for name, chosen in shared.items():
        if made.region is not None and chosen:
            raise InputError(f"mode.region=true and runtime.{name} do not go together: leave one out")


def check_attention(made: Brief) -> None:
    """Raise InputError for a control of attention that has nothing to work on, or does not go with what runs it."""
    settings, options = made.settings, attention_of(made)
    if not options.active:
        return
    if options.takes and "source" not in made.editor.sides:
        able = ", ".join(name for name, each in EDITORS.items() if "source" in each.sides)
        raise InputError(
            f"{options.called} takes attention from the source, and mode={settings.mode.name} never looks at "
            f"the source: take one of the modes {able}"
        )
    outside = options.takes and (options.values == 0 or options.values_inside == 0)
    outside = outside and (max(options.queries, options.keys) == 0 or options.keys_inside == 0)
    if not made.masked and (options.bends or outside):
        raise InputError(
            f"{options.called} acts where a mask says, and there is none: give --source-words or "
            "--target-words, or --user-mask"
        )
    if options.bends and not words.phrases(settings.target_words):
        raise InputError("attention to words needs target_words: those of the target prompt that name what is new")
    if options.objects == "apart" and len(made.objects) < 2:
        raise InputError(
            "attention.objects=apart needs two objects or more, each with a mask of its own: give words that pair up, "
            'such as --source-words "fox, car" --target-words "panda, bus"'
        )
    for name, chosen in clashes(made).items():
        if chosen:
            raise InputError(f"a control of attention and {name} do not go together: leave one out")


def check_attending(made: Brief, backbone: Backbone) -> None:
    """Raise InputError for a control of attention on a backbone whose attention cannot be reached."""
    options = attention_of(made)
    if options.active and not (hasattr(backbone, "attend") and getattr(backbone, "controls", True)):
        raise InputError(
            f"{backbone.spec.name} offers no control of its attention: leave {options.called} out, or "
            "take a model whose network is a transformer, not a UNet"
        )


def check_still(settings: Settings, spec: BackboneSpec, frames: int) -> None:
    """Raise InputError for a video on a model of single pictures that is not asked to edit it frame by frame."""
    if spec.still and frames > 1 and not settings.frame_by_frame:
        raise InputError(
            f"{spec.name} knows single pictures, and this clip has {frames} frames: --frame-by-frame true edits each "
            "by itself, which flickers; --frames 1 edits the first"
        )


def check_means(made: Brief, spec: BackboneSpec) -> None:
    """Raise InputError for a mode or a solver that mean velocities make worse, on a backbone that has no others."""
    if spec.mean:
        check_whole_steps(spec.name, made.settings.mode, made.steps)


def check_packing(made: Brief, backbone: Backbone) -> None:
    """Raise InputError for a region pass on a family whose rows do not share a sequence."""
    if made.region is not None and not getattr(backbone, "packs", True):
        raise InputError(f"{backbone.spec.name} evaluates whole frames alone: leave mode.region=true out")


def check_waiting(made: Brief, backbone: Backbone, latent: tuple[int, int, int, int], windows: int) -> None:
    """Raise InputError where what is taken of the source's attention has no room in the host's memory.

    `latent` (C, F, H, W) is what the network sees at once, in `windows` of a shot.
    """
    load, (free, _) = load_of(made, latent, windows), memory.of_host()
    if not load.waits or free is None or (drawn := memory.of_backbone(backbone)) is None:
        return
    needed = presets.host_need(drawn, load, made.settings.runtime, backbone.device.type == "cpu")
    if needed > free:
        raise InputError(
            f"{attention_of(made).called} keeps {needed:.1f} GiB of the source's attention in the host's memory, "
            f"and {free:.1f} are free: give fewer steps, or a narrower attention.blocks, attention.values_steps or "
            "attention.keys_steps"
        )


def check_guidance(made: Brief) -> None:
    """Raise InputError for what a rule of guidance that is not affine in its scale, or looks ahead, cannot carry."""
    settings, rule = made.settings, made.settings.guidance_rule
    if rule == "plain":
        return
    for name, chosen in (("mode.region=true", made.region), ("edit_strength", settings.edit_strength)):
        if chosen is not None:
            raise InputError(f"{name} and guidance_rule={rule} do not go together: leave one out")
    rises = made.editor.rises(settings.mode, made.steps) > 0
    if rule == "rectified" and rises and set(made.scales["source"]) != {1.0}:
        raise InputError(
            f"guidance_rule=rectified looks ahead on the way down, and mode={settings.mode.name} goes up under "
            "source_guidance_scale: set it to 1, or take guidance_rule=zero_star"
        )


def check_difference(made: Brief) -> None:
    """Raise InputError for a mask of the velocity difference in a mode that has not both velocities at a step."""
    if made.asks_difference and made.editor.difference == "none":
        able = ", ".join(name for name, editor in EDITORS.items() if editor.difference != "none")
        instead = "mask.dependents=0" if made.settings.mask.name == "attention" else "mask=attention"
        raise InputError(
            f"{_of_difference(made)} needs both velocities in each step, which mode={made.settings.mode.name} has not: "
            f"choose {instead} or one of the modes {able}"
        )


def _of_difference(made: Brief) -> str:
    """The option that asks for the difference of the velocities."""
    mask = made.settings.mask
    return f"mask.dependents={mask.dependents:g}" if mask.name == "attention" else f"mask={mask.name}"


def check_shape(clip: Clip) -> None:
    """Raise InputError for a clip in whose shape no model sees a picture."""
    (height, width), name = clip.video.shown, clip.video.path
    if min(clip.size) < 2:
        raise InputError(f"{name} is {clip.size[1]}x{clip.size[0]}: give a clip of 2 pixels a side, or more")
    if max(height, width) > STRIP * min(height, width):
        raise InputError(
            f"{name} is shown as {width}x{height}, a strip in which no model sees a picture: crop it, so that its "
            f"longer side is at most {STRIP} times the shorter"
        )


def check_words(settings: Settings) -> None:
    """Raise InputError for an object word that its prompt does not have, with the prompt's words; and for words that
    the task has no use for, or lacks, beside those of kept objects.
    """
    words.occurrences(settings.source or "", settings.source_words if settings.source else "", "source_words")
    words.occurrences(settings.source or "", settings.also_words if settings.source else "", "also_words")
    words.occurrences(settings.target or "", settings.target_words, "target_words")
    task = TASKS[settings.task]
    if task.words is None or task.wordless is None:
        return
    edited = dict(zip(("source", "target"), changed(settings), strict=True))
    if useless := ", ".join(edited[task.wordless]):
        raise InputError(f"task={settings.task} takes no {task.wordless}_words, {useless!r}: {task.alone}")
    if not edited[task.words] and not settings.marked and settings.mask.name not in ("difference", "both"):
        raise InputError(
            f"task={settings.task} needs {task.words}_words, a user mask, or mask=difference, that say where"
        )


def changed(settings: Settings) -> tuple[list[str], list[str]]:
    """The phrases of source and target words that are not kept objects'."""
    return words.edited_phrases(settings.source_words, settings.target_words)


def check_editor(made: Brief, steps: int) -> None:
    """Raise InputError for options of the editor that so many steps cannot carry."""
    settings, editor = made.settings, made.editor
    if editor.draws:
        check_draws(settings.averaging, settings.draws)
    editor.check(settings.mode, steps)
    evaluated = editor.sides if editor.evaluated is None else editor.evaluated(settings.mode, steps)
    unseen = made.sides and not set(made.sides) & set(evaluated)
    lost = "source" not in evaluated and not all(each.target for each in made.objects)
    if made.asks_difference and steps and len(evaluated) < 2:
        raise InputError(
            f"the {steps} steps that are run follow the target alone: {_of_difference(made)} needs steps that see both "
            "prompts; give a lower mode.target_only_steps"
        )
    if "source" in editor.sides and steps and (unseen or lost):
        raise InputError(
            f"the {steps} steps that are run follow the target alone: the source prompt is never evaluated and "
            "source_words give no mask; give target_words, or a lower mode.target_only_steps"
        )


def check_prompts(made: Brief, backbone: Backbone) -> list[str]:
    """`check_prompt` of both sides, the negative prompts and the parts of the target."""
    said = [text for name in PROMPTS for text in check_prompt(made, backbone, name)]
    for number, part in enumerate(made.settings.target_parts or (), 1):
        alone = replace(made, settings=replace(made.settings, target=part, target_words=""), sides={})
        try:
            said += [f"target_parts, part {number}: {text}" for text in check_prompt(alone, backbone, "target")]
        except InputError as error:
            raise InputError(f"target_parts, part {number}: {error}") from error
    return said


def check_prompt(made: Brief, backbone: Backbone, name: str, alone: bool = False) -> list[str]:
    """Notices about a prompt's characters that the backbone cannot read, and words that it never learned.

    Raises InputError for a prompt that is too long, an object word of which nothing can be read, and a word of the
    edit that a small backbone never learned; with `alone`, where nothing but the prompt says what to make, for any.
    """
    prompt, spec, notices = getattr(made.settings, name) or "", backbone.spec, []
    called = "prompt" if alone else name
    if spec.world is not None:  # before its length: a small model spells what it never learned letter by letter
        notices = _check_learned(made.settings, spec.name, Vocabulary(**spec.world), name, prompt, alone)
    try:
        spans, lost = backbone.spans(prompt), backbone.unreadable(prompt)
    except ValueError as error:
        raise InputError(f"{called}: {error}") from error
    if spec.world is not None:
        return notices
    if name in made.sides:
        holes = {place for start, end in lost for place in range(start, end)}
        for called, start, end in _places(made.settings, name, prompt):
            if holes >= set(range(start, end)):
                raise InputError(f"{called}: {spec.name} cannot read {prompt[start:end]!r}: say it in English")
    return [f"{called}: {spec.name} cannot read {prompt[a:b]!r}" for a, b in lost if spans and prompt[a:b].strip()]


def _places(settings: Settings, name: str, prompt: str) -> Iterator[tuple[str, int, int]]:
    """Where in a prompt the words of objects stand, with the option that names them."""
    for called in (f"{name}_words", *(["also_words"] if name == "source" else [])):
        for start, end in words.occurrences(prompt, getattr(settings, called), called):
            yield called, start, end


def check_learned(settings: Settings, folder: Path | None, alone: bool = False) -> None:
    """What `check_prompt` refuses of words that a small backbone never learned, by its folder, before it is opened.

    Raises one InputError for those of all prompts.
    """
    if folder is None or (world := layout.world(folder, layout.notes(folder))) is None:
        return
    backbone = (settings.backbone.path is None and settings.backbone.name) or folder.resolve().name
    known, prompts = Vocabulary(**world), ("target",) if alone else PROMPTS
    _refuse(backbone, known, [word for name in prompts for word in _strange_of_edit(settings, known, name, alone)])


def _check_learned(
    settings: Settings, backbone: str, known: Vocabulary, name: str, prompt: str, alone: bool
) -> list[str]:
    _refuse(backbone, known, _strange_of_edit(settings, known, name, alone))
    strange, called = unknown_words(prompt, known), "prompt" if alone else name
    if not strange:
        return []
    what = f"{called}: {backbone} does not know {_quoted(strange)}, and what comes may be another thing."
    return [f"{what} It knows {_all(known)}"]


def _strange_of_edit(settings: Settings, known: Vocabulary, name: str, alone: bool) -> list[str]:
    """The words of a prompt that say what the edit is, and that no caption of the vocabulary has."""
    prompt = getattr(settings, name) or ""
    edited = _split(prompt) - set(words.JOINTS) if alone else _edit_words(settings, name)
    return [word for word in unknown_words(prompt, known) if word.lower() in edited]


def _refuse(backbone: str, known: Vocabulary, strange: Iterable[str]) -> None:
    strange = tuple(strange)
    if bad := _quoted(strange):
        advice = ALONG if {word.lower() for word in strange} <= SHADES else ELSEWHERE
        raise InputError(f"{backbone} does not know {bad}: it knows {_things(known)}; {advice}")


def _edit_words(settings: Settings, name: str) -> set[str]:
    """Lower-case words that say what the edit is: the object words, and those that only one of the prompts has."""
    if name not in ("source", "target"):
        return set()
    own, other = (_split(text or "") for text in _sides(settings, name))
    also = _split(settings.also_words) if name == "source" else set()
    return (_split(getattr(settings, f"{name}_words")) | also | (own - other if other else set())) - set(words.JOINTS)


def _sides(settings: Settings, name: str) -> tuple[str | None, str | None]:
    return (settings.source, settings.target) if name == "source" else (settings.target, settings.source)


def _split(text: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[^\W_]+", text)}


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(repr(text) for text in dict.fromkeys(texts))


def _things(known: Vocabulary) -> str:
    """What an edit is mostly of: the things of a vocabulary, their sizes and colours."""
    return ", ".join(filter(None, (*known.classes, *known.sizes, *known.tints))) + ", …"


def _all(known: Vocabulary) -> str:
    """What a vocabulary holds, kind by kind."""
    phrases = [MOTIONS[name] for name in known.motions], [GROUNDS[name] for name in known.grounds]
    kinds = known.classes, known.sizes, known.tints, *phrases
    return "; ".join(", ".join(filter(None, kind)) for kind in kinds if any(kind))
