"""What is measured: one kind of event in each module."""
