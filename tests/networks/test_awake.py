"""A network that somebody else lays into memory is brought before its parts are called, and a group's taken back."""

from types import SimpleNamespace

import torch
from diffusers.hooks import apply_group_offloading

from flowedit.networks import placement


def test_a_hook_on_the_whole_network_is_heard():
    network, heard = torch.nn.Linear(1, 1), []
    assert placement.awake(network) is network
    network._hf_hook = SimpleNamespace(pre_forward=heard.append)
    placement.awake(network)
    assert heard == [network]


def test_what_is_in_no_block_is_brought_and_withdrawn(monkeypatch):
    network = torch.nn.ModuleDict({"alone": torch.nn.Linear(1, 1), "blocks": torch.nn.ModuleList([torch.nn.ReLU()])})
    host = torch.device("cpu")
    apply_group_offloading(network, host, host, offload_type="block_level", num_blocks_per_group=1)
    group, calls = placement._group(network), []
    assert group.modules == [network["alone"]]
    monkeypatch.setattr(group, "onload_", lambda: calls.append("on"))
    monkeypatch.setattr(group, "offload_", lambda: calls.append("off"))
    placement.awake(network)
    placement.withdraw(network)
    assert calls == ["on", "off"]
