"""Real Slurm clusters from Debian's packages, one or several on one machine."""
