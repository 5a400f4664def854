"""What `benchmarks/gateway.py` runs: the engine, those that stand before it, load, and a table."""
