"""Options of a mask for tests of the maths, where sizes are in sites: no pooling, no growth, no smoothing."""

from flowedit.masks.options import MaskOptions

UNTUNED = {"mask.sharpen": 0.0, "mask.level": 1.0, "attention.objects": "joined"}
"""Whatever a backbone is tuned to: sites where attention exceeds the threshold itself, and each sees all words."""


def mask_options(**changes):
    plain = {
        "name": "attention", "blocks": (0.6,), "normalise": "joint", "threshold": "mean", "quantile": 0.5, "level": 1.0,
        "pool": 1.0, "close": 0.0, "grow": 0.0, "sharpen": 0.0, "dependents": 0.0, "decay": 0.5, "smooth_frames": 0.0,
        "smooth_steps": 0.0, "over_draws": "mean", "preserve": False, "user": "replace", "objects": "apart",
        "look_at": (0.0,),
    }  # fmt: skip
    return MaskOptions(**(plain | changes))
