"""What the makers of all tiny models share: the command, the training loop, the record."""
