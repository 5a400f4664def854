"""Gets the images that a request names by address, so that no engine opens addresses itself."""

from resource_server.adapters.remote_images.images import RemoteImages
from resource_server.adapters.remote_images.rules import ImageRules

__all__ = ["ImageRules", "RemoteImages"]
