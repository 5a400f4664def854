"""Which view answers a path, looked up once and remembered; and how a synchronous view is run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import cast

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver
from django.urls.resolvers import URLResolver

SyncView = Callable[..., HttpResponseBase]
AsyncView = Callable[..., Awaitable[HttpResponseBase]]

#: Longer paths are not remembered, so that what is remembered is small.
_LONGEST_PATH = 256


def find_view(path: str) -> ResolverMatch:
    """Return the view for a path, or raise Django's `Resolver404`.

    Django tries one route after the other. The match is shared with other requests for this path.
    """
    if len(path) > _LONGEST_PATH:
        return get_resolver().resolve(path)
    return _remembered(get_resolver(), path)


@lru_cache(maxsize=1024)
def _remembered(resolver: URLResolver, path: str) -> ResolverMatch:
    return resolver.resolve(path)


def make_async(view: SyncView | AsyncView) -> AsyncView:
    """Return a view itself, or one that runs it in a thread which no other request shares."""
    if iscoroutinefunction(view):
        return cast("AsyncView", view)
    return _in_a_thread(cast("SyncView", view))


def _in_a_thread(view: SyncView) -> AsyncView:
    def run(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        finally:
            close_old_connections()

    async def view_in_a_thread(
        request: HttpRequest, *args: object, **kwargs: object
    ) -> HttpResponseBase:
        async with ThreadSensitiveContext():
            return await sync_to_async(run)(request, *args, **kwargs)

    return view_in_a_thread
