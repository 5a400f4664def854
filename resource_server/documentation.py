"""The pages of the documentation that are made from the code: settings, errors and routes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import django
from django.conf import settings as django_settings

from resource_server import settings
from resource_server.config import Settings
from resource_server.domain import errors


def render_settings() -> str:
    """Return the page of all settings, in Markdown."""
    lines = [
        "# Settings of the gateway",
        "",
        "Made by `./hotnode settings`. Each setting is an environment variable.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default())
        lines.append(f"| `HOTNODE_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def render_errors() -> str:
    """Return the page of all errors that callers can meet, in Markdown."""
    _configure()
    from resource_server.api.errors import rendering_of  # noqa: PLC0415 - needs a configured Django

    lines = [
        "# Errors",
        "",
        "Made by `./hotnode errors`. Every error has OpenAI's form,",
        '`{"error": {"message", "type", "param", "code"}}`; below `/v1/messages` it has',
        "Anthropic's, with the same code. The message says what to do. `retry` says whether",
        "sending the same request again can help; the header `x-should-retry` says it for each",
        "case, and `Retry-After` after how many seconds.",
        "",
        "| status | code | type | retry | meaning |",
        "|---|---|---|---|---|",
    ]
    found = {kind.code: kind for kind in _public_errors()}
    rows = sorted((*rendering_of(kind), code, kind) for code, kind in found.items())
    for status, openai_type, code, kind in rows:
        again = "yes" if issubclass(kind, errors.UpstreamError) and kind.retry_after_s else "no"
        again = "yes" if kind is errors.RateLimited else again
        lines.append(
            f"| {status} | `{code}` | `{openai_type}` | {again} | {_first_sentences(kind)} |"
        )
    return "\n".join(lines) + "\n"


def render_routes() -> str:
    """Return the page of all routes, in Markdown."""
    _configure()
    from resource_server.urls import make_api  # noqa: PLC0415 - needs a configured Django

    schema: dict[str, Any] = make_api().get_openapi_schema()
    lines = [
        "# Routes",
        "",
        "Made by `./hotnode routes`. The gateway itself shows them, with the bodies' fields,",
        "at `/docs` and `/openapi.json`.",
        "",
        "| method | path | what it does | token |",
        "|---|---|---|---|",
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            token = "yes" if "security" in operation else "no"
            lines.append(f"| {method.upper()} | `{path}` | {operation['summary']} | {token} |")
    return "\n".join(lines) + "\n"


#: Errors that no caller meets.
OPERATORS_OWN = (
    errors.OperatorError,
    errors.LeaseLost,
    errors.SiteRefusal,
    errors.StreamComesWhole,
)

PAGES: dict[str, Callable[[], str]] = {
    "settings": render_settings,
    "errors": render_errors,
    "routes": render_routes,
}


def _configure() -> None:
    """Tell Django as much as the routes need; nothing is opened."""
    if not django_settings.configured:
        values = {name: value for name, value in vars(settings).items() if name.isupper()}
        # Not a secret: nothing is signed for a page.
        django_settings.configure(**values | {"SECRET_KEY": "documentation"})
        django.setup()


def _public_errors() -> Iterator[type[errors.HotnodeError]]:
    """Yield every kind of error that a caller can get, with a code of its own."""

    def below(kind: type[errors.HotnodeError]) -> Iterator[type[errors.HotnodeError]]:
        for deeper in kind.__subclasses__():
            yield from below(deeper)
            yield deeper

    for kind in below(errors.HotnodeError):
        if not issubclass(kind, OPERATORS_OWN) and "code" in vars(kind):
            yield kind


def _first_sentences(kind: type[errors.HotnodeError]) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())


def _shown(default: object) -> str:
    """Return a default as an operator would write it."""
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return "" if default in (None, "") else f"`{default}`"
