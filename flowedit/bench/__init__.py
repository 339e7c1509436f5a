"""PocketBench: edits of the pocket world scored against their exact truth, with intervals over scenes."""

from flowedit.bench.methods import Method, methods
from flowedit.bench.report import report
from flowedit.bench.run import Bench, Row, bench
from flowedit.bench.write import show

__all__ = ["Bench", "Method", "Row", "bench", "methods", "report", "show"]
