"""What an engine is asked about usage within a stream, and what of its answer the caller sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resource_server.domain.catalog import Framework, StreamUsage
from resource_server.domain.dialects import DIALECTS, Dialect
from resource_server.ports import RequestBody

#: The fields of vLLM's forms, which have no objects in them.
_FORM_FIELDS = {
    "include_usage": "stream_include_usage",
    "continuous_usage_stats": "stream_continuous_usage_stats",
}
_FORM_VALUES = {"true": True, "false": False}
#: What engines are asked, by how they count.
_WANTED = {
    StreamUsage.FINAL: {"include_usage": True},
    StreamUsage.CONTINUOUS: {"include_usage": True, "continuous_usage_stats": True},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageView:
    """What a caller sees of the usage in chunks: all that the engine says, or only what it asked.

    Without `final`, the chunk at the end that has nothing but usage is left out; without
    `continuous`, usage is cut out of all other chunks.
    """

    final: bool = True
    continuous: bool = True


#: The caller sees what the engine says.
EVERYTHING = UsageView()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """Fields to set in a request's body, so that usage is known, and what the caller sees of it."""

    values: Mapping[str, object]
    view: UsageView


NOTHING_ASKED = StreamOptions(values={}, view=EVERYTHING)


def usage_options(body: RequestBody, route: str, framework: Framework) -> StreamOptions:
    """Return what to ask a framework's engine beyond what the caller asks.

    Options that are not what they should be are the engine's to refuse.
    """
    if DIALECTS.get(route) is not Dialect.CHUNKS or framework.stream_usage is StreamUsage.NONE:
        return NOTHING_ASKED
    wanted = _WANTED[framework.stream_usage]
    values: Mapping[str, object]
    if route.startswith("audio/"):
        given = _form_options(body)
        values = {_FORM_FIELDS[name]: "true" for name in wanted}
    else:
        given = _options(body)
        values = {"stream_options": {**(given or {}), **wanted}}
    asked = _asked(given)
    if asked is None:
        return NOTHING_ASKED
    # An engine that counts at the end alone says nothing in between that could be cut out.
    continuous = asked.continuous or framework.stream_usage is StreamUsage.FINAL
    return StreamOptions(values=values, view=UsageView(final=asked.final, continuous=continuous))


def _asked(given: Mapping[str, object] | None) -> UsageView | None:
    """Return what the caller asked to see; None if that is neither true nor false."""
    if given is None:
        return None
    final = given.get("include_usage") or False
    # vLLM passes over the second without the first.
    continuous = final and (given.get("continuous_usage_stats") or False)
    if not isinstance(final, bool) or not isinstance(continuous, bool):
        return None
    return UsageView(final=final, continuous=continuous)


def _options(body: RequestBody) -> Mapping[str, object] | None:
    """Return the caller's `stream_options`; None if they are no object."""
    given = body.value("stream_options") if "stream_options" in body.fields else None
    if given is None:
        return {}
    return given if isinstance(given, dict) else None


def _form_options(body: RequestBody) -> Mapping[str, object] | None:
    """Return a form's options; None if they are neither true nor false."""
    texts = {name: body.value(field) for name, field in _FORM_FIELDS.items()}
    read = {name: _FORM_VALUES.get(str(t).lower()) for name, t in texts.items() if t is not None}
    return None if None in read.values() else read
