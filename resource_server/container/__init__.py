"""The composition root: the one package that names concrete classes and opens them."""

from resource_server.container.controller import open_controller, open_controller_process
from resource_server.container.gateway import open_gateway
from resource_server.container.hub import open_hub

__all__ = ["open_controller", "open_controller_process", "open_gateway", "open_hub"]
