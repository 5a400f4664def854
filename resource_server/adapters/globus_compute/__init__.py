"""Carries requests to clusters as Globus Compute tasks, and asks sites what they run."""

from resource_server.adapters.globus_compute.backend import GlobusComputeBackend
from resource_server.adapters.globus_compute.service import ServiceAddresses
from resource_server.adapters.globus_compute.sites import GlobusComputeSites

__all__ = ["GlobusComputeBackend", "GlobusComputeSites", "ServiceAddresses"]
