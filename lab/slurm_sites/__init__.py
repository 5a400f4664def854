"""The whole service with sites on real Slurm: stand-in, clusters, endpoints, agents, gateway."""
