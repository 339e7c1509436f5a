"""Velocity fields with exact solutions, and a toy backbone: what the tests hold the mathematics to."""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from flowedit.flow import rectify
from flowedit.flow.guidance import classifier_free, scales
from flowedit.networks.control.controller import Controller, Module, controlling
from flowedit.types import BackboneSpec, Chosen, Conditioning, Geometry


class Gaussian:
    """The exact flow of data N(m, c^2 I): u = k(t) (z - (1 - t) m) - m, k = (t - (1 - t) c^2) / s^2."""

    def __init__(self, mean, c):
        self.mean, self.c = mean, c

    def s(self, t):
        return math.sqrt((1 - t) ** 2 * self.c**2 + t**2)

    def k(self, t):
        return (t - (1 - t) * self.c**2) / self.s(t) ** 2

    def __call__(self, z, t):
        return self.k(t) * (z - (1 - t) * self.mean) - self.mean

    def flow(self, z, t, t_next):
        """The exact state at t_next of the path through z at t."""
        return (1 - t_next) * self.mean + self.s(t_next) / self.s(t) * (z - (1 - t) * self.mean)


def noises(shape, seed=0, dtype=torch.float64):
    """A noise source in double precision."""

    def noise(step, draw):
        generator = torch.Generator().manual_seed(1000 * seed + 100 * step + draw)
        return torch.randn(shape, generator=generator, dtype=dtype)

    return noise


class ToyBackbone:
    """A non-linear field behind the seam, with attention maps that depend on the state; no network, no diffusers.

    It is pointwise in time, but for `coupling` times the mean over time.
    """

    spec = BackboneSpec(
        name="toy", notices=(), trained=True, trained_frames=9, fps=8, latent_size=(16, 24), native_area=128 * 192,
        multiple=16, frames_per_latent=4,
    )  # fmt: skip

    def __init__(self, coupling=0.0):
        self.device, self._coupling = torch.device("cpu"), coupling
        self.evaluations, self._maps, self._controller = 0, None, None
        alphas = torch.cos(torch.linspace(0.02, 0.5 * math.pi, 1000, dtype=torch.float64)) ** 2
        self.knots = rectify.knots(alphas)

    def geometry(self, frames, size):
        return Geometry(frames, frames, size, (3, frames, size[0] // 8, size[1] // 8))

    def spans(self, prompt):
        places, at = [], 0
        for word in prompt.split(" "):
            places.append((at, at + len(word)))
            at += len(word) + 1
        return tuple(places)

    def embed(self, prompt):
        generator = torch.Generator().manual_seed(sum(prompt.encode()))
        return Conditioning(prompt, torch.randn((1, 3, 4), generator=generator), self.spans(prompt))

    def velocity(self, prompt, guidance_scale=1.0, negative=None):
        def one(z, t, cond):
            e = cond.embedding[0].mean(1).view(1, 3, 1, 1, 1)
            near = z.roll(1, 3) + z.roll(1, 4)
            if self._coupling:
                near = near + self._coupling * z.mean(2, keepdim=True)
            return torch.tanh(z * (1 + e) + 0.5 * near * t + e) - 0.5 * z + 0.3 * torch.sin(3 * z + e)

        def velocity(z, t):
            u = one(z, t, prompt)
            if self._controller is not None:
                u = u + self._controlled(prompt, z, t)
                self._controller.foresaw(prompt, lambda: z - t * u)
            if self._maps is not None:
                self._maps.add(prompt, z)
            wanted = scales(guidance_scale)
            if set(wanted) == {1.0}:
                self.evaluations += len(z)
                return torch.cat([u] * len(wanted))
            self.evaluations += 2 * len(z)
            away = one(z, t, negative)
            return torch.cat([classifier_free(away, u, scale) for scale in wanted])

        return velocity

    def _controlled(self, prompt, z, t):
        """What a control changes of a small joint attention: nothing where it does nothing."""
        sites = F.avg_pool3d(torch.cat([z, z.mean(1, keepdim=True)], 1), (1, 4, 4))
        x = torch.cat([prompt.embedding.expand(len(z), -1, -1).repeat(1, 2, 1), sites.flatten(2).mT], 1)
        plain = self._attentions[1](self._attentions[0](x))
        with self._controller.velocity(prompt, [prompt], t):
            self._controller.rows([prompt], range(len(z)))
            changed = self._attentions[1](self._attentions[0](x))
        moved = (changed - plain)[:, 6:].mT.unflatten(2, sites.shape[2:])[:, :3]
        return torch.tanh(10.0 * moved).repeat_interleave(4, 3).repeat_interleave(4, 4)

    @contextmanager
    def attend(self, control):
        self._attentions = [ToyAttention(), ToyAttention()]
        places = [Module(i, each, True, True, 6) for i, each in enumerate(self._attentions)]
        try:
            with controlling(Controller(control, places, 2, (1, 4, 4))) as self._controller:
                yield self._controller
        finally:
            self._controller = None

    def choose(self, region):
        """A token is a site."""
        return (Chosen(region, region.flatten().nonzero()[:, 0]),)

    def pair_velocity(self, source, target):
        """Outside the region the target is shown the source's state."""
        u_source, u_target = self.velocity(*source), self.velocity(*target)

        def pair(q, p, t, chosen):
            u_src, u_tgt = u_source(q, t), u_target(torch.where(chosen[0].sites, p, q), t)
            return u_src, torch.where(chosen[0].sites, u_tgt, u_src.repeat(len(u_tgt) // len(u_src), 1, 1, 1, 1))

        return pair

    @property
    def token_evaluations(self):
        return float(self.evaluations)

    @contextmanager
    def record(self, tokens, blocks, normalise="joint"):
        self._maps = ToyMaps(tokens, blocks, normalise)
        try:
            yield self._maps
        finally:
            self._maps = None

    def unreadable(self, prompt):
        return ()

    def describe(self):
        return {}


class ToyAttention(torch.nn.Module):
    """One head of attention over (B, N, 4)."""

    def forward(self, x):
        q, k, v = ((x.roll(i, 2) * (1 + 0.3 * i))[:, None] for i in range(3))
        return x + F.scaled_dot_product_attention(q, k, v)[:, 0]


class ToyMaps:
    def __init__(self, tokens, blocks, normalise):
        self.tokens, self.power = tokens, 1 + sum(blocks) + (normalise == "text")
        self.calls = {}

    def add(self, prompt, z):
        if prompt in self.tokens:
            waves = [
                torch.sin(z.mean(1, keepdim=True) * self.power * (2 + sum(each)) + z[:, :1]).square()
                for each in self.tokens[prompt]
            ]
            self.calls.setdefault(prompt, []).append(torch.cat(waves, 1))

    def take(self, prompt):
        calls = self.calls.pop(prompt, None)
        return None if calls is None else torch.stack(calls).mean(0)


class LocalBackbone(ToyBackbone):
    """The target's prompt acts in a box of the frame alone."""

    box = (slice(None), slice(None), slice(None), slice(4, 11), slice(6, 15))

    def velocity(self, prompt, guidance_scale=1.0, negative=None):
        own, plain = super().velocity(prompt, guidance_scale, negative), super().velocity(self.embed(""))

        def velocity(z, t):
            u = plain(z, t)
            u[self.box] = own(z, t)[self.box]
            return u

        return velocity
