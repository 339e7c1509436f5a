"""What is reckoned for CogVideoX 2B and 5B beside what others published; whose figure each is, stands beside it."""

import pytest

from flowedit.backbones import memory

NATIVE = (16, 13, 60, 90)

WAYS = {
    "all on the card": {"offload": "none", "tiling": False},
    "all on the card, int8": {"offload": "none", "tiling": False, "weights": "int8", "text_weights": "int8"},
    "one network at a time": {"offload": "parts", "tiling": False},
    "one network at a time, tiles": {"offload": "parts"},
    "layer by layer, tiles": {"offload": "blocks"},
    "layer by layer, tiles, int8": {"offload": "blocks", "weights": "int8", "text_weights": "int8"},
}

PUBLISHED = [
    ("cogvideox-2b", "layer by layer, tiles", 4.0, "CogVideo README"),
    ("cogvideox-2b", "layer by layer, tiles, int8", 3.6, "CogVideo README"),
    ("cogvideox-5b", "layer by layer, tiles", 5.0, "CogVideo README"),
    ("cogvideox-5b", "layer by layer, tiles, int8", 4.4, "CogVideo README"),
    ("cogvideox-5b", "all on the card", 33.0, "diffusers' documentation"),
    ("cogvideox-5b", "one network at a time", 19.0, "diffusers' documentation"),
    ("cogvideox-5b", "one network at a time, tiles", 11.0, "diffusers' documentation"),
    ("cogvideox-2b", "all on the card", 24.5, "diffusers-torchao, A100"),
    ("cogvideox-2b", "all on the card, int8", 18.6, "diffusers-torchao, A100"),
    ("cogvideox-5b", "all on the card", 31.7, "diffusers-torchao, A100"),
    ("cogvideox-5b", "all on the card, int8", 22.3, "diffusers-torchao, A100"),
]
"""GB of the source, whose card memory is what PyTorch allocates, in GiB."""


@pytest.mark.parametrize(("name", "way", "published", "source"), PUBLISHED)
def test_it_agrees_with_what_is_published(name, way, published, source):
    drawn = memory.released(name)
    precision = memory.precisions(drawn, "auto", cpu=False)
    found = memory.totals(memory.phases(drawn, NATIVE, precision=precision, objects=0, **WAYS[way]))
    most = max(found.values())
    print(f"{name} | {way} | {most:.1f} | {published} | {most / published - 1:+.0%} | {source}")
    assert most == pytest.approx(published, rel=0.25), source
