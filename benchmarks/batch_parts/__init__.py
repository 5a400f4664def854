"""The parts of `batches.py`: inputs, engines, clients that take turns, and what is read of them."""
