"""The hub's side of the relays: instances dial in, and requests go to them on their links."""

from resource_server.adapters.relay.backend import RelayBackend
from resource_server.adapters.relay.gatekeeper import Gatekeeper
from resource_server.adapters.relay.links import Links
from resource_server.adapters.relay.listener import RelayListener

__all__ = ["Gatekeeper", "Links", "RelayBackend", "RelayListener"]
