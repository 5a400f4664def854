"""django-ninja's API, without what it does around a view for nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI, Router
from ninja.operation import PathView
from typing_extensions import override

from resource_server.domain import errors

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


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


class DirectRouter(Router):
    """Routes whose views take the request alone and return a response of their own.

    django-ninja declares and describes them. Where the front door has authenticated the caller, and
    the method is right, nothing is left for it to do: the view is called, which spares each
    request some 30 us. In all other cases, and for errors, it does as for any route. To the front
    door such a view is `direct`: an asynchronous one whose response is ready to be sent.
    """

    @override
    def add_api_operation(self, path: str, methods: list[str], *view: Any, **said: Any) -> None:
        """Declare one route."""
        self.path_operations.setdefault(path, _DirectPathView())
        super().add_api_operation(path, methods, *view, **said)


class _DirectPathView(PathView):
    """A path of one operation; see `DirectRouter`."""

    @override
    def clone(self) -> _DirectPathView:
        cloned = _DirectPathView()
        vars(cloned).update(vars(super().clone()))
        return cloned

    @override
    def get_view(self) -> Callable[..., Any]:
        around = super().get_view()
        (operation,) = self.operations

        async def view(request: HttpRequest, **names: object) -> HttpResponseBase:
            person = getattr(request, "person", None)
            if person is None or request.method not in operation.methods:
                return cast("HttpResponseBase", await around(request, **names))
            request.auth = person  # type: ignore[attr-defined] # where django-ninja puts it
            try:
                return cast("HttpResponseBase", await operation.view_func(request))
            except errors.HotnodeError as problem:
                return operation.api.on_exception(request, problem)

        view.csrf_exempt = True  # type: ignore[attr-defined] # as of all views of django-ninja
        view.direct = True  # type: ignore[attr-defined] # `LeanHandler` looks for it
        return view


class StreamedRouter(Router):
    """Routes of which some read their request's body while it comes.

    Views that are marked so (`reads_stream`) find it in `request.streamed`.
    """

    @override
    def add_api_operation(self, path: str, methods: list[str], *view: Any, **said: Any) -> None:
        """Declare one route."""
        self.path_operations.setdefault(path, _StreamedPathView())
        super().add_api_operation(path, methods, *view, **said)


class _StreamedPathView(PathView):
    """A path of a `StreamedRouter`; the front door looks at `streamed`, methods of HTTP."""

    @override
    def clone(self) -> _StreamedPathView:
        cloned = _StreamedPathView()
        vars(cloned).update(vars(super().clone()))
        return cloned

    @override
    def get_view(self) -> Callable[..., Any]:
        view = super().get_view()
        view.streamed = frozenset(  # type: ignore[attr-defined] # `LeanHandler` looks for it
            method
            for operation in self.operations
            if getattr(operation.view_func, "reads_stream", False)
            for method in operation.methods
        )
        return view


def reads_stream(view: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
    """Mark a view of a `StreamedRouter` that reads the body itself."""
    view.reads_stream = True  # type: ignore[attr-defined] # an attribute of our own
    return view
