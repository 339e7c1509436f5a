"""Seconds of a step by the region pass, as shares of a whole step, at CogVideoX's proportions, on one core.

    python tests/helpers/region_table.py

Random weights: time does not depend on them. The network is as wide as makes attention as large a share of the work
as in CogVideoX-2B at its own size, N / 6 d. Seconds are the process's own, so that a busy machine does not count.
"""

import statistics
import time

import torch
from diffusers import CogVideoXTransformer3DModel

from flowedit.networks.guided import GuidedNetwork
from flowedit.networks.lanes import Blocks
from flowedit.networks.pairs import PairNetwork
from flowedit.types import Conditioning, Guided

FRAMES, SIDE, TEXT, LAYERS, HEADS = 10, 15, 32, 8, 4
SHARES, REPEATS = (0.1, 0.2, 0.4, 1.0), 2


def network():
    torch.manual_seed(0)
    return CogVideoXTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=64,
        num_layers=LAYERS,
        sample_frames=4 * FRAMES - 3,
        sample_height=2 * SIDE,
        sample_width=2 * SIDE,
        text_embed_dim=64,
        max_text_seq_length=TEXT,
    ).eval()


def main():
    """Print the table, by who is guided."""
    torch.set_num_threads(1)
    made = network()

    def call(x, t, embedding):
        steps = torch.full((len(x),), 1000 * t)
        video = x.transpose(1, 2)
        return made(video, embedding, steps, return_dict=False)[0].transpose(1, 2)

    blocks = Blocks(lambda each: each.transformer_blocks, "image_rotary_emb", 0, lambda block: block.attn1)
    guided = GuidedNetwork(call, (1, 2, 2), 0)
    pair = PairNetwork(guided, blocks, lambda: made)
    q, p = torch.randn(2, 1, 16, FRAMES, 2 * SIDE, 2 * SIDE)
    one, two, no = (Conditioning("", torch.randn(1, TEXT, 64), ()) for _ in range(3))
    count = FRAMES * SIDE * SIDE
    print(f"{count} video tokens, {TEXT} of text, width {64 * HEADS}, {LAYERS} layers, torch {torch.__version__}")
    for name, source in (("source and target guided", Guided(one, 3.5, no)), ("target alone", Guided(one))):
        target = Guided(two, 10.5, no)
        ways = {"whole": lambda s=source, t=target: (guided(q, 0.7, *s), guided(p, 0.7, *t))}
        for share in SHARES:
            tokens = torch.randperm(count)[: int(share * count)].sort().values
            ways[share] = lambda s=source, t=target, k=tokens: pair(q, p, 0.7, s, t, k)
        seconds = {way: [] for way in ways}
        for run in [*ways.values()][:1]:
            run()  # warm
        for _ in range(REPEATS):
            for way, run in ways.items():
                start = time.process_time()
                run()
                seconds[way].append(time.process_time() - start)
        middle = {way: statistics.median(each) for way, each in seconds.items()}
        shown = ", ".join(f"{way}: {middle[way] / middle['whole']:.2f}" for way in SHARES)
        print(f"{name}: whole step {middle['whole']:.1f} s; at share {shown}")


if __name__ == "__main__":
    main()
