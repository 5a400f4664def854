"""The schedulers' own commands: for each what is run, and how its text is read."""
