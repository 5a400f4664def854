"""A whole service on one machine, for the demo, the tests and the benchmarks.

Nothing here runs in production: the lab starts the product's own commands, as an operator would,
waits for them, and stops them.
"""
