"""What leaves the stages of a network is heard as it is, in the order of the calls, and nothing stays behind."""

import pytest
import torch

from flowedit.backbones import families
from flowedit.networks.stages import DEPTHS, depth, layers, stages, watched


class Step(torch.nn.Module):
    def forward(self, hidden_states):
        return hidden_states + 1, "a cache"


class Coder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.start = torch.nn.Identity()
        self.blocks = torch.nn.ModuleList([Step(), Step()])
        self.unused = torch.nn.Identity()

    def forward(self, x):
        x = self.start(x)
        for block in self.blocks:
            x, _ = block(hidden_states=x)
        return x


def test_stages_open_lists_and_layers_are_the_first_list():
    assert list(stages(Coder())) == ["start", "blocks 1", "blocks 2", "unused"]
    assert list(layers(Coder())) == ["blocks 1", "blocks 2"]
    assert layers(torch.nn.Linear(2, 2)) == {}


def test_what_leaves_each_stage_is_heard_by_call_and_what_enters_the_first():
    coder = Coder()
    with watched(layers(coder), lambda x, number: (float(x), number), entry="in") as seen:
        coder(torch.tensor(0.0))
        coder(torch.tensor(10.0))
    assert seen == {
        "in": [(0, 0), (10, 1)], "blocks 1": [(1, 0), (11, 1)], "blocks 2": [(2, 0), (12, 1)],
    }  # fmt: skip


def test_hooks_are_gone_whatever_happens():
    coder = Coder()
    with pytest.raises(ZeroDivisionError), watched(stages(coder), lambda x, number: 1 / 0, entry="in"):
        coder(torch.tensor(0.0))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in coder.modules())


def test_a_backbone_tells_its_blocks_and_a_plug_in_is_read_at_twenty_places(backbone_5b):
    assert depth(families.load(backbone_5b, device="cpu")) == 3
    assert depth(object()) == DEPTHS


def test_the_layers_of_a_text_encoder_begin_with_the_embedding_and_end_with_what_is_cached(backbone_2b, backbone_wan):
    for folder in (backbone_2b, backbone_wan):
        text = families.load(folder, device="cpu").text
        found = text.layers("a red fox", lambda x: x.clone())
        assert list(found) == ["embedding", "block 1", "output"]
        own = len(text.spans("a red fox"))
        assert torch.equal(found["output"][:own], text.embed("a red fox").embedding[0, :own])
        same = text.layers("fox fox", lambda x: x.clone())["embedding"]
        first, second = (i for i, piece in enumerate(text.pieces("fox fox")) if piece.endswith("fox"))
        assert torch.equal(same[first], same[second])
        blanked = text.layers("a red fox", lambda x: x.clone(), blank=[own - 2])
        assert torch.equal(blanked["embedding"][own - 2], found["embedding"][-1])  # as padding
        assert not torch.equal(blanked["output"][0], found["output"][0])
