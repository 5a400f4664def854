"""Which path leads where: one API, authentication on everything that does not say otherwise."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import ninja
from django.conf import settings
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.generic import RedirectView
from django.views.static import serve
from ninja import NinjaAPI

from resource_server.api import alcf, batches, errors, files, health, inference, metrics, models
from resource_server.api.auth import BearerToken
from resource_server.api.bases import MOUNTS
from resource_server.api.framework import LeanNinja

DESCRIPTION = "Open models on supercomputers, behind the OpenAI API."
#: The page under /docs must work where the internet cannot be reached, so its files are ours.
DOCUMENTATION = Path(ninja.__file__).parent / "static" / "ninja"
DOCUMENTATION_FILES = frozenset(path.name for path in DOCUMENTATION.iterdir())


def make_api() -> NinjaAPI:
    """Return the API with all its routers."""
    api = LeanNinja(
        title="Hotnode",
        version=version("hotnode"),
        description=DESCRIPTION + (f" Contact: {settings.CONTACT}" if settings.CONTACT else ""),
        auth=BearerToken(),
        docs_url="/docs",
        openapi_url="/openapi.json",
    )
    errors.install(api)
    api.add_router("", health.make_router("gateway"))
    api.add_router("/resource_server", health.make_router("resource_server"))
    api.add_router("", metrics.router)
    # Before the routes of clusters: `v1` is no cluster's name.
    for mount in sorted(MOUNTS, key=lambda mount: len(mount.parameters)):
        for routes in (models, inference, files, batches):
            api.add_router(mount.path, routes.make_router(mount), url_name_prefix=mount.name)
    api.add_router("/resource_server", alcf.router)
    return api


def documentation_file(request: HttpRequest, name: str) -> HttpResponseBase:
    """Serve one of the few files that the documentation page needs."""
    if name not in DOCUMENTATION_FILES:
        raise Http404(name)
    return serve(request, name, document_root=str(DOCUMENTATION))


urlpatterns = [
    path("resource_server/docs", RedirectView.as_view(url="/docs")),
    path("resource_server/openapi.json", RedirectView.as_view(url="/openapi.json")),
    path("static/ninja/<str:name>", documentation_file),
    path("", make_api().urls),
]
