"""PocketBench: edits of the pocket world scored against their exact truth, with intervals over scenes."""
