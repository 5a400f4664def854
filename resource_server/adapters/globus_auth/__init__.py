"""Asks Globus Auth whom a token belongs to, and Globus Groups where that person is a member."""

from resource_server.adapters.globus_auth.provider import GlobusAuth

__all__ = ["GlobusAuth"]
