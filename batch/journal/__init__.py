"""The journal of a batch: what came of each line, written once, checksummed, replayed to resume."""
