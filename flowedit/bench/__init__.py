"""PocketBench: edits of the pocket world scored against their exact truth, with intervals over scenes."""

from flowedit.bench.report import Bench, report, shown

__all__ = ["Bench", "report", "shown"]
