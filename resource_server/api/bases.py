"""The base URLs below which the OpenAI API is served, and what each says of the way to go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from resource_server.domain.routing import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One base URL: its path, and for whom it is."""

    name: str
    path: str
    description: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


MOUNTS = (
    Mount(
        name="cluster",
        path="/resource_server/{cluster}/{framework}/v1",
        description="at one cluster",
    ),
    Mount(name="resource_server", path="/resource_server/v1", description="at any cluster"),
    Mount(name="v1", path="/v1", description="at any cluster"),
    Mount(name="openai", path="/openai/v1", description="at any cluster"),
    Mount(
        name="project",
        path="/p/{project}/openai/v1",
        description="for a project",
    ),
)


def base_of(request: HttpRequest) -> Base:
    """Return what the URL of a request says of the way to go."""
    match = request.resolver_match
    given = match.kwargs if match else {}
    return Base(
        cluster=given.get("cluster"),
        framework=given.get("framework"),
        project=given.get("project"),
    )


def parameters(*names: str) -> dict[str, Any]:
    """Describe the names in a path for OpenAPI."""
    return {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    }
