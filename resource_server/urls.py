"""Which path leads where: one API, authentication on everything that does not say otherwise."""

from __future__ import annotations

from importlib.metadata import version

from django.contrib.staticfiles import views as staticfiles
from django.http import HttpRequest, HttpResponseBase
from django.urls import path
from django.views.generic import RedirectView
from ninja import NinjaAPI

from resource_server.api import alcf, errors, health, openai
from resource_server.api.auth import BearerToken


def make_api() -> NinjaAPI:
    """Return the API with all its routers."""
    api = NinjaAPI(
        title="Hotnode",
        version=version("hotnode"),
        description="Open models on supercomputers, behind the OpenAI API.",
        auth=BearerToken(),
        docs_url="/docs",
        openapi_url="/openapi.json",
    )
    errors.install(api)
    api.add_router("", health.router)
    api.add_router("/resource_server", health.router, url_name_prefix="resource_server")
    api.add_router("/resource_server", alcf.router)
    api.add_router("/resource_server", openai.router)
    return api


def static_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """Serve the few files of the API's own documentation page."""
    return staticfiles.serve(request, path, insecure=True)


urlpatterns = [
    path("resource_server/docs", RedirectView.as_view(url="/docs")),
    path("resource_server/openapi.json", RedirectView.as_view(url="/openapi.json")),
    path("static/<path:path>", static_file),
    path("", make_api().urls),
]
