"""Many edits by several methods, made and scored as jobs that are resumed, and reported on one page."""

from flowedit.evaluation.clip import one_clip
from flowedit.evaluation.command import Finished, compare, compared, evaluate, listed
from flowedit.evaluation.gather import Evaluated, on_cpu
from flowedit.evaluation.write import write

__all__ = ["Evaluated", "Finished", "compare", "compared", "evaluate", "listed", "on_cpu", "one_clip", "write"]
