"""The hub's end of site links: sites' agents dial in, hear what is wanted, tell what there is."""

from resource_server.adapters.site_link.links import SiteLinks

__all__ = ["SiteLinks"]
