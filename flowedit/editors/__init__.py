"""One editing method a file, each a pure function of latents, velocities, a grid and a noise source."""

from flowedit.editors.inversion import inversion
from flowedit.editors.inversion_free import inversion_free
from flowedit.editors.random_noise import random_noise

__all__ = ["inversion", "inversion_free", "random_noise"]
