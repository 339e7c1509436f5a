"""One self-contained HTML page of a comparison: tables, plots, synchronised videos and the runs behind them."""
