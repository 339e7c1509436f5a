"""A clip from a prompt alone, by the seam of an edit."""

from dataclasses import replace

import torch
from torch import Tensor

from flowedit.config.schema import Settings
from flowedit.flow import windows
from flowedit.messages import InputError
from flowedit.pipeline.checks import check_means, check_prompt
from flowedit.pipeline.notices.shape import of_shape
from flowedit.pipeline.notices.start import Shape, of_guidance, of_interval, of_largest, of_start
from flowedit.pipeline.notices.unused import of_unused
from flowedit.pipeline.outputs import GENERATE, inputs_of, staging
from flowedit.pipeline.plan import (
    Brief,
    asked_size,
    brief,
    make_grid,
    native_size,
    own_latents,
    seen_of,
    told,
    windows_of,
)
from flowedit.pipeline.record import Session, describe_generation
from flowedit.pipeline.render import write_clip
from flowedit.pipeline.resume import Journal, Steps, forget_others, key_of, unfinished
from flowedit.pipeline.run import checkpoint, fit_memory
from flowedit.pipeline.steer import run_editor, sent
from flowedit.pipeline.velocities import bind
from flowedit.results import GeneratedClip
from flowedit.types import Backbone, Geometry


def generate_clip(settings: Settings, backbone: Backbone, session: Session | None = None) -> GeneratedClip:
    """A clip from the target prompt alone, by the same seam: random noise at strength 1.

    One that was killed goes on where it was. Raises InputError for a lack of a prompt, a word that a small backbone
    never learned, another mode, or a grid that does not begin at pure noise.
    """
    if not (settings.target or "").strip():
        raise InputError('no prompt: say what the clip shows: flowedit generate "a fox moves right over green grass"')
    if settings.mode.name != "random_noise":
        raise InputError("generation starts from noise: it needs mode=random_noise")
    session = session or Session(backbone.device)
    spec = backbone.spec
    made = told(brief(replace(settings, strength=1.0, source=None, source_words="", target_words="")), spec)
    check_means(made, spec)
    session.say(check_prompt(made, backbone, "target", alone=True))
    if spec.still and (settings.frames or 1) > 1:
        raise InputError(f"{spec.name} makes single pictures: leave --frames {settings.frames} out")
    geometry = backbone.geometry(
        settings.frames or spec.trained_frames, asked_size(settings, spec) or native_size(spec)
    )
    grid = tuple(make_grid(made.settings, backbone, geometry))
    if grid[0] != float(backbone.knots[0]):
        raise InputError(f"generation starts from pure noise: the grid must begin at {float(backbone.knots[0]):.6g}")
    places = tuple(windows_of(settings, spec, geometry.latent[1]))
    fit_memory(
        made, backbone, (geometry.latent[0], places[0][1] - places[0][0], *geometry.latent[2:]), len(places), session
    )
    shape = Shape(geometry.size, geometry.source_frames, len(places), 1, grid, seen_of(geometry, places))
    session.start(of_start(made, backbone, shape, made.cost(grid) * len(places)))
    session.say([*of_shape(settings, spec, geometry, places, given=False), *spec.notices])
    session.say(
        [
            *of_guidance(made, spec.name),
            *of_largest(backbone, grid),
            *of_interval(made, grid),
            *of_unused(made, len(places)),
        ]
    )
    key = key_of(made, backbone, checkpoint(settings, fetch=False))
    made_file = "picture.png" if spec.still else "video.mp4"
    with (
        staging(settings.out, "generate", GENERATE, inputs_of(settings), "generate") as stage,
        unfinished(stage, key, session) as journal,
    ):
        z, evaluations = _generated(made, windows.over(backbone, places), geometry, grid, session, journal)
        with session.meter.phase("decode and write"), torch.no_grad():
            write_clip(backbone, geometry, z, stage.folder / made_file, settings, session)
        described = stage.told(describe_generation(made, backbone, grid, evaluations, session))
        folder = stage.commit()
        forget_others(stage, key)
    return GeneratedClip(folder, folder / made_file, described)


def _generated(
    made: Brief, seen: Backbone, geometry: Geometry, grid: tuple[float, ...], session: Session, journal: Journal
) -> tuple[Tensor, int]:
    """The latents of a clip that is made, and the batch rows that they took; or as an earlier run had made them."""
    if (found := journal.load("made")) is not None:
        return found[0]["z"].to(seen.device), int(found[1]["evaluations"])
    with session.meter.phase("embed"):
        _, velocities = bind(made, seen, grid)
    start, before = torch.zeros((1, *geometry.latent), device=seen.device), sent(seen)
    recalled = made.editor.recalls and made.editor.recalls(made.settings.mode, len(grid) - 1)
    steps = Steps(journal, session.shot, recalled, evaluations=lambda: sent(seen) - before)
    with session.meter.phase("edit"), torch.no_grad():
        own = own_latents(seen.spec, geometry)
        z, _ = run_editor(made, start, velocities, grid, None, own, session, steps)
    evaluations = (steps.evaluations + sent(seen) - before).rows
    if not session.stopped:
        journal.save("made", {"z": z}, evaluations=evaluations)
    return z, evaluations
