"""Joins a host's web processes to its hub, which alone talks to Globus Compute for them."""

from resource_server.adapters.hub.backend import HubBackend
from resource_server.adapters.hub.calls import HubCalls
from resource_server.adapters.hub.connection import HubConnection
from resource_server.adapters.hub.server import HubServer
from resource_server.adapters.hub.sites import HubSites
from resource_server.adapters.hub.socket_file import HubSocketTaken
from resource_server.adapters.hub.views import HubViews

__all__ = [
    "HubBackend",
    "HubCalls",
    "HubConnection",
    "HubServer",
    "HubSites",
    "HubSocketTaken",
    "HubViews",
]
