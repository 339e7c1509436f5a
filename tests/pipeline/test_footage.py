"""Clips of odd shapes, sizes and words in an edit: what it keeps of its source, and what is refused before it runs."""

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.edits import Ear

import flowedit
from flowedit.media.probe import probe
from flowedit.media.reader import read

CASES = Path(__file__).parents[1] / "data" / "cases"
ROOT = Path(__file__).parents[2]
WORDS = {"source": "a fox runs", "target": "a panda runs", "source_words": "fox", "target_words": "panda"}
