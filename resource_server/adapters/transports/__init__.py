"""The one backend that services see: it takes each cluster's ways in their order of preference."""

from resource_server.adapters.transports.backend import Carrier, Transports

__all__ = ["Carrier", "Transports"]
