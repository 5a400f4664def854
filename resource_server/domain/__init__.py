"""What the gateway talks about, in plain Python: values, decisions and errors, no I/O."""
