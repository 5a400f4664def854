"""Carries requests over HTTP to engines and services that the gateway can reach by itself."""

from resource_server.adapters.direct.backend import DirectBackend
from resource_server.adapters.direct.clients import DirectClients
from resource_server.adapters.direct.files import unusable

__all__ = ["DirectBackend", "DirectClients", "unusable"]
