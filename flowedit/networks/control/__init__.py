"""Attention control: what the target's rows take of the source's attention, and how they look at their words."""
