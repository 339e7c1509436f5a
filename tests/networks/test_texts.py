"""What a network is told of its rows' prompts: embeddings, and what else a family has of a prompt."""

import pytest
import torch

from flowedit.networks.guided import GuidedNetwork, placed, texts_of
from flowedit.types import Conditioning


def conditioning(number: float) -> Conditioning:
    pooled, own = torch.full((1, 3), number), torch.tensor([[True, number > 1.0]])
    return Conditioning("", torch.full((1, 2, 4), number), ((0, 0),), (pooled, own))


def test_the_extras_of_a_prompt_go_with_its_rows():
    embedding, pooled, own = texts_of([conditioning(1.0), conditioning(2.0)], 3)
    assert embedding.shape == (6, 2, 4)
    assert pooled.shape == (6, 3)
    assert own.shape == (6, 2)
    for each in (embedding, pooled):
        assert each.flatten(1).mean(1).tolist() == [1.0] * 3 + [2.0] * 3
    assert own[:, 1].tolist() == [False] * 3 + [True] * 3


def test_prompts_of_unlike_extras_are_not_joined():
    with pytest.raises(ValueError, match="shorter"):
        texts_of([conditioning(1.0), Conditioning("", torch.zeros(1, 2, 4), ())], 1)


def test_a_mask_stays_a_mask_in_any_precision():
    made = placed(texts_of([conditioning(1.0)], 1), torch.device("cpu"), torch.float16)
    assert [each.dtype for each in made] == [torch.float16, torch.float16, torch.bool]


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_guidance_tells_each_row_its_own_extras(rows):
    """u = pooled of its own prompt, so guidance at scale 3 is 1 + 3 (2 - 1) whatever the rows of a call."""

    def network(x: torch.Tensor, t: float, texts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return x * 0 + texts[1][:, :1, None, None, None]

    guided = GuidedNetwork(network, (1, 1, 1), rows)
    out = guided(torch.randn(2, 1, 1, 2, 2), 0.5, conditioning(2.0), 3.0, conditioning(1.0))
    assert torch.equal(out, torch.full_like(out, 4.0))
