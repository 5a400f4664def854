"""What must hold before a request goes to an engine, and what is changed in its body."""

from __future__ import annotations

import re
from collections.abc import Mapping

from resource_server.domain import errors
from resource_server.domain.catalog import Cluster, Framework, Model, NamedModel
from resource_server.domain.dialects import DIALECTS
from resource_server.ports import RequestBody

#: An alias's object is merged into a caller's of this many bytes; templates' arguments are small.
MAX_MERGED_BYTES = 65_536
#: Where engines that have a `cache_salt` take it.
SALTED_ROUTES = frozenset({"chat/completions", "completions", "responses"})
#: How a list of token numbers begins, or one of such lists, and how many bytes are looked at.
_TOKENS = re.compile(rb"\[\s*(?:\[\s*)?-?[0-9]")
_BEGINNING_BYTES = 1000


def require_route(model: Model, route: str) -> None:
    """Raise `RouteNotServed`, which names the right routes, if the model does not serve one."""
    if route not in model.routes:
        served = ", ".join(f"/v1/{route}" for route in model.routes)
        raise errors.RouteNotServed(
            f"The model '{model.id}' does not serve /v1/{route}. It serves: {served}.",
            param="model",
        )


def require_streaming(route: str) -> None:
    """Raise `StreamingUnsupported` if a route's answers have no parts."""
    if route not in DIALECTS:
        raise errors.StreamingUnsupported(
            f"/v1/{route} answers in one piece. Leave 'stream' out.", param="stream"
        )


def require_open(cluster: Cluster) -> None:
    """Raise `BackendUnavailable` with the reason if the cluster is under maintenance."""
    if cluster.maintenance:
        raise errors.BackendUnavailable(
            f"The cluster '{cluster.name}' is under maintenance: {cluster.maintenance}"
        )


def require_fields(body: RequestBody, route: str, framework: Framework) -> None:
    """Raise an `InvalidRequest` for what must not or cannot reach a framework's engines."""
    reserved = sorted(body.fields & framework.reserved)
    if reserved:
        raise errors.ReservedField(
            f"The field '{reserved[0]}' is set by the service. Leave it out.", param=reserved[0]
        )
    if route == "embeddings" and framework.texts_only and _holds_tokens(body.raw("input")):
        raise errors.InvalidRequest(
            f"This model's engine ({framework.name}) takes texts and no lists of token numbers. "
            "With LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False).",
            param="input",
        )


def under_its_id(body: RequestBody, named: NamedModel) -> RequestBody:
    """Return the body with the model's own id, and with its alias's parameters where it has none.

    Of an object, as `chat_template_kwargs`, the alias gives the fields that the caller leaves out.
    """
    if named.alias is None:
        return body
    values: dict[str, object] = {"model": named.model.id}
    for name, default in named.alias.parameters.items():
        if name not in body.fields:
            values[name] = default
        elif isinstance(default, Mapping):
            given = _object(body, name)
            if isinstance(given, Mapping):
                values[name] = {**default, **given}
    return body.replaced(values)


def _object(body: RequestBody, name: str) -> object:
    if len(body.raw(name)) > MAX_MERGED_BYTES:
        raise errors.InvalidRequest(
            f"'{name}' is longer than {MAX_MERGED_BYTES} bytes.", param=name
        )
    return body.value(name)


def _holds_tokens(raw: bytes) -> bool:
    """Tell whether an embeddings' input is a list of token numbers, or of such lists.

    By its first bytes: reading millions of them would stop the process for as long.
    """
    return bool(_TOKENS.match(raw[:_BEGINNING_BYTES]))
