"""Redis: what all workers of the gateway share and may lose."""
