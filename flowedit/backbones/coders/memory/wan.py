"""Wan: norms over channels; a convolution pads a copy of what it joined."""

from flowedit.backbones.coders.memory.walk import CACHED, Walk, Walked
from flowedit.backbones.sheet import Config


def _causal(walk: Walk, held: float, c_in: int, c_out: int, sites: float, area: float) -> None:
    walk.weights += 27 * c_in * c_out + c_out
    padded = c_in * (sites + CACHED * area)
    kept = c_in * min(CACHED * area, sites) if walk.first else c_in * CACHED * area
    joined = 0.0 if walk.first else padded
    walk.at(held + c_in * sites + kept + padded + max(joined, c_out * sites))
    walk.keep(kept)


def _block(walk: Walk, c_in: int, c_out: int, frames: int, area: float, around: float = 0.0) -> None:
    sites, held = frames * area, around + c_in * frames * area
    if c_in != c_out:
        walk.weights += c_in * c_out + c_out
        held += c_out * sites
    walk.weights += c_in + c_out
    walk.at(held + 3 * c_in * sites)
    _causal(walk, held, c_in, c_out, sites, area)
    walk.at(held + 4 * c_out * sites)
    _causal(walk, held, c_out, c_out, sites, area)


def _middle(walk: Walk, c: int, frames: int, area: float) -> None:
    sites = frames * area
    _block(walk, c, c, frames, area)
    walk.weights += c + (3 * c * c + 3 * c) + (c * c + c)
    walk.at(9 * c * sites)  # q, k and v, and a copy of them
    _block(walk, c, c, frames, area)


def _encoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    """A residual one (Wan 2.2 5B) takes patches of pixels, and each level holds a copy of its input for a shortcut."""
    patch, residual = vae.get("patch_size") or 1, bool(vae.get("is_residual"))
    widths, area = [vae["base_dim"] * each for each in (1, *vae["dim_mult"])], float(size[0] * size[1]) / patch**2
    walk.weights += (2 * vae["z_dim"]) ** 2 + 2 * vae["z_dim"]
    _causal(walk, 0.0, vae.get("in_channels", 3), widths[0], frames * area, area)
    before = widths[0]
    for level, c in enumerate(widths[1:]):
        copy = before * frames * area if residual else 0.0
        for i in range(vae["num_res_blocks"]):
            # the caller of a residual level holds what went into it, beside the copy
            _block(walk, before if i == 0 else c, c, frames, area, copy * min(i + 1, 2))
        before = c
        if level + 2 < len(widths):
            walk.weights += 9 * c * c + c
            walk.at(2 * copy + 2.25 * c * frames * area)
            area /= 4
            if vae["temperal_downsample"][level]:
                walk.weights += 3 * c * c + c
                walk.keep(c * area)
                frames = (frames + 1) // 2
        walk.at(3 * copy + c * frames * area if residual else 0.0)
    _middle(walk, before, frames, area)
    walk.weights += before
    _causal(walk, 0.0, before, 2 * vae["z_dim"], frames * area, area)


def _decoder(vae: Config, frames: int, size: tuple[int, int], walk: Walk) -> None:
    residual = bool(vae.get("is_residual"))
    base = vae.get("decoder_base_dim") or vae["base_dim"]
    widths = [base * each for each in (vae["dim_mult"][-1], *vae["dim_mult"][::-1])]
    area, lengthens = float(size[0] * size[1]), vae["temperal_downsample"][::-1]
    walk.weights += vae["z_dim"] ** 2 + vae["z_dim"]
    _causal(walk, 0.0, vae["z_dim"], widths[0], frames * area, area)
    before = widths[0]
    _middle(walk, before, frames, area)
    for level, c in enumerate(widths[1:]):
        came = before * frames * area
        copy = came if residual else 0.0
        for i in range(vae["num_res_blocks"] + 1):
            around = copy + (came if i else 0.0)  # the caller holds what went into the first
            _block(walk, c if i else before, c, frames, area, around)
        before = c
        if level + 2 < len(widths):
            if lengthens[level]:
                walk.weights += 6 * c * c + 2 * c
                walk.keep(CACHED * c * area)
                frames = frames if walk.first else 2 * frames
            area *= 4
            after = c if residual else c // 2
            walk.weights += 9 * c * after + after
            walk.at(2 * copy + c * frames * area * 2.25)
            if residual:  # the shortcut repeats its input to the size of the output, and is cut and added
                walk.at(2 * copy + 3 * c * frames * area)
            before = after
    walk.weights += before
    _causal(walk, 0.0, before, vae.get("out_channels", 3), frames * area, area)


MEMORY = Walked(_encoder, _decoder, replaces=True)
