"""Which build of the package is installed: an agent does not outlive the one that it runs."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution

NAME = "hotnode"


def build() -> tuple[str, str] | None:
    """Return the version, and a fingerprint of the files; None while a package is being replaced.

    Two builds may have one version, as those of developers do.
    """
    try:
        found = distribution(NAME)
        record = found.read_text("RECORD") or ""
        return found.version, hashlib.sha256(record.encode()).hexdigest()
    except (PackageNotFoundError, KeyError, TypeError):
        # Its folder is there and not yet, or not any more, what stands in it.
        return None
