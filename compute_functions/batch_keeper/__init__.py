"""The agent's part in batches: whose turn it is, on which instance, and what came of each runner.

`turns.decide` is pure; what it is told and what it says are values. The files by which agent and
instances speak (`assignments`, `working`) stand in the spool, and both sides read them here.
"""
