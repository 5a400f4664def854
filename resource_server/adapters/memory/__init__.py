"""What worker processes would share, kept by one process for itself."""
