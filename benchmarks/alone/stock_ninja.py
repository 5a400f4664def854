"""The same proxy as a django-ninja view on Django's own ASGI handler; it checks nothing."""

from __future__ import annotations

import asyncio
import sys
from functools import cache

import aiohttp
import django
from alone.serving import ENGINE_PATH, ROUTE, serve
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], MIDDLEWARE=[], LOGGING_CONFIG=None
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 - Django wants its settings first
from ninja import NinjaAPI  # noqa: E402 - likewise

api = NinjaAPI(docs_url=None, openapi_url=None)
URL = f"http://127.0.0.1:{sys.argv[1]}{ENGINE_PATH}"


@cache
def session() -> aiohttp.ClientSession:
    """Return the one session; the first request opens it."""
    asyncio.get_running_loop()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@api.post("/" + ROUTE.replace("local", "{cluster}").replace("vllm", "{framework}"))
async def complete(request: HttpRequest, cluster: str, framework: str) -> HttpResponse:
    """Pass the body on, and the answer back."""
    async with session().post(
        URL, data=request.body, headers={"content-type": "application/json"}
    ) as answer:
        content = await answer.read()
    return HttpResponse(content, status=answer.status, content_type=answer.headers["content-type"])


urlpatterns = [path("", api.urls)]

if __name__ == "__main__":
    serve(get_asgi_application(), lifespan="off")
