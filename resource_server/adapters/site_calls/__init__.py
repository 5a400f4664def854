"""Ways to have a site's functions called; see `ports.SiteCalls`."""

from resource_server.adapters.site_calls.by_link import CallsByLink
from resource_server.adapters.site_calls.by_task import CallsByTask
from resource_server.adapters.site_calls.chosen import CallsChosen
from resource_server.adapters.site_calls.later import CallsLater

__all__ = ["CallsByLink", "CallsByTask", "CallsChosen", "CallsLater"]
