"""What spans say, in OpenTelemetry's names for HTTP and for generative AI.

The names of GenAI are those of its own repository of conventions since 2026; they are in
development, so they stand here and are not taken from a package that moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import Span
from opentelemetry.trace.status import Status, StatusCode

from resource_server.adapters.metrics.requests import METHODS, OTHER_METHOD, code_of

#: GenAI's well-known operations; others keep our name.
OPERATIONS = {
    "chat/completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
#: Attributes that the log knows under another name.
_INFERENCE = {
    "cluster": "server.address",
    "framework": "gen_ai.provider.name",
    "model": "gen_ai.response.model",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "transport": "hotnode.transport",
    "globus_task_id": "hotnode.globus_task_id",
    "project": "hotnode.project",
}
_FIRST_REFUSAL = 400
_FIRST_FAILURE = 500


def describe_http(span: Span, record: Mapping[str, Any]) -> None:
    """Name the span of the request itself, and say how it ended."""
    method = record["method"] if record["method"] in METHODS else OTHER_METHOD
    said = method if method != OTHER_METHOD else "HTTP"
    known = {
        "http.request.method": method,
        "url.scheme": "http",
        "url.path": record["path"],
        "http.response.status_code": record["status"],
        "http.response.header.x-request-id": [record["request_id"]],
    }
    if route := record.get("route"):
        known["http.route"] = route
    span.update_name(f"{said} {route}" if route else said)
    span.set_attributes(known)
    _say_what_failed(span, record, from_status=_FIRST_FAILURE)


def describe_inference(span: Span, record: Mapping[str, Any]) -> None:
    """Name the span of the engine's work, and say what was asked and what it cost."""
    operation = OPERATIONS.get(record["operation"], record["operation"].replace("/", "_"))
    known = {attribute: record[field] for field, attribute in _INFERENCE.items() if field in record}
    known["gen_ai.operation.name"] = operation
    if asked := record.get("alias", record.get("model")):
        known["gen_ai.request.model"] = asked
    span.update_name(f"{operation} {asked}" if asked else operation)
    span.set_attributes(known)
    _say_what_failed(span, record, from_status=_FIRST_REFUSAL)


def _say_what_failed(span: Span, record: Mapping[str, Any], *, from_status: int) -> None:
    code = code_of(record)
    if record["status"] < from_status and "client" not in record:
        return
    span.set_attribute("error.type", code or str(record["status"]))
    if "client" not in record:
        span.set_status(Status(StatusCode.ERROR))
