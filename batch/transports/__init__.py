"""Ways to ask an engine: what the runner needs of one, and one variant a module."""
