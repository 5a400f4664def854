"""What the log and the metrics call a route: its template, never the path that somebody sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from resource_server.domain.inference import INFERENCE_ROUTES

#: A name in one of Django's routes, with or without its converter: `<path:name>`.
_NAME = re.compile(r"<(?:[^:>]+:)?([^>]+)>")


@lru_cache(maxsize=1024)
def route_fields(route: str) -> Mapping[str, str]:
    """Return the fields `route` and, if it goes to an engine, `operation`, for a Django route."""
    template = "/" + _NAME.sub(r"{\1}", route)
    fields = {"route": template}
    operation = template.rpartition("/v1/")[2]
    if operation in INFERENCE_ROUTES:
        fields["operation"] = operation
    return MappingProxyType(fields)
