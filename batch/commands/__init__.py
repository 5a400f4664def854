"""What `python -m batch` can be asked for: one command, one module."""
