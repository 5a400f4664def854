"""`./hotnode demo --slurm`: models that live on two real Slurm clusters, shown to a person."""
