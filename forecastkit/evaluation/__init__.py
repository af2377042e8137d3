"""How good, and how fast: splits, metrics, backtests and their reports."""
