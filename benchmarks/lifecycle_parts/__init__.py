"""What benchmarks/lifecycle.py is made of: a load that counts, accidents, measures, a table."""
