"""What people ask of a gateway's batches at the command line: one command, one module."""
