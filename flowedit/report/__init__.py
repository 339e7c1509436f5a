"""One self-contained HTML page of a comparison: tables, plots, synchronised videos and the runs behind them."""

from flowedit.report.page import Page, Shown, write_page

__all__ = ["Page", "Shown", "write_page"]
