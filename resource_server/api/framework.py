"""django-ninja's API, without the response that it makes ahead of every view."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from typing_extensions import override


class _Status:
    """All that is used of that response: where the status of a view's answer is kept."""

    __slots__ = ("status_code",)
    status_code: int


class LeanNinja(NinjaAPI):
    """An API whose views return a response of their own or plain values.

    A view that fills the response which django-ninja would hand to it finds none here. Making one
    costs as much as a view's own, and views that carry a request return their own.
    """

    @override
    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """Return what takes a status."""
        return cast("HttpResponse", _Status())

    @override
    def create_response(
        self,
        request: HttpRequest,
        data: Any,
        *,
        status: int | None = None,
        temporal_response: HttpResponse | None = None,
    ) -> HttpResponse:
        """Return the response for plain values."""
        if temporal_response is not None:
            status = temporal_response.status_code
        return super().create_response(request, data, status=status)
