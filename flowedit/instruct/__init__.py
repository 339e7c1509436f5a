"""From an instruction in plain English to the prompts and words of an edit; nothing here needs a network."""

from flowedit.instruct.grammar import EXAMPLES, Change, Instruction, parse
from flowedit.instruct.rewrite import Prompts, plain, resolve

__all__ = ["EXAMPLES", "Change", "Instruction", "Prompts", "parse", "plain", "resolve"]
