"""Many edits by several methods, made and scored as jobs that are resumed, and reported on one page."""

from flowedit.evaluation.clip import one_clip
from flowedit.evaluation.command import Finished, compare, evaluate, listed
from flowedit.evaluation.gather import Evaluated
from flowedit.evaluation.plan import compared
from flowedit.evaluation.write import write

__all__ = ["Evaluated", "Finished", "compare", "compared", "evaluate", "listed", "one_clip", "write"]
