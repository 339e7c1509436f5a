"""Edits of latents behind the seam, without files."""

from flowedit.pipeline.plan import brief, make_grid, told, windows_of
from flowedit.pipeline.record import Session
from flowedit.pipeline.region import region
from flowedit.pipeline.steer import run_editor, steer
from flowedit.pipeline.velocities import bind


def steered(settings, backbone, x, own=slice(None), user=None, callback=None):
    """The source latent x through the settings' editor, in the windows that the settings ask for."""
    places = tuple(windows_of(settings, backbone.spec, x.shape[2]))
    session = Session(backbone.device, callback=callback)
    made = told(brief(settings), backbone.spec)
    return steer(made, backbone, x, tuple(make_grid(settings, backbone)), places, own, session, user)


def edited(settings, backbone, x, size, mask=None):
    """The same at once, in one window, with a mask of its own unless one is given; the state alone."""
    made, grid = brief(settings), tuple(make_grid(settings, backbone))
    prompts, velocities = bind(made, backbone, grid)
    with region(made, backbone, prompts, size, slice(None), None) as where:
        asked = where.mask if mask is None else mask
        return run_editor(made, x, velocities, grid, asked, slice(None), Session(backbone.device))[0]
