"""Whose word a site takes for it that a hub is one."""

from __future__ import annotations

import ssl

from compute_functions.errors import ConfigurationError


def trusted(ca_file: str) -> ssl.SSLContext:
    """Return what trusts the authorities in `ca_file`, or without one those of the system.

    Raises `ConfigurationError` if the file holds none. It reads: call it in a thread.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # `ssl.SSLError` is one
        raise ConfigurationError(f"{ca_file} holds no authorities: {error}") from error
