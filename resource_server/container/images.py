"""The images that requests name by address."""

from __future__ import annotations

from resource_server.adapters.remote_images import ImageRules, RemoteImages
from resource_server.config import Settings


def open_images(settings: Settings) -> RemoteImages:
    """Return what fetches them as the settings allow; to be entered."""
    rules = ImageRules(
        fetch=settings.images_fetch,
        max_image_bytes=settings.images_max_bytes,
        max_request_bytes=settings.images_max_request_bytes,
        max_images=settings.images_max_count,
        timeout_s=settings.images_timeout_s,
        hosts=settings.images_hosts,
        ports=settings.images_ports,
    )
    return RemoteImages(rules)
