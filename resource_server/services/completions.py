"""Answer one OpenAI request: find its route, allow it, admit it, carry it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from resource_server.domain import errors, policy
from resource_server.domain.catalog import Catalog, Cluster, Framework, Model
from resource_server.domain.identity import Person
from resource_server.domain.inference import (
    RESERVED_EVERYWHERE,
    InferenceAnswer,
    InferenceRequest,
)
from resource_server.ports import InferenceBackend

#: An engine checks the site's key alone, never the caller's token: these are not the caller's.
ENGINE_REFUSES_US = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionRequest:
    """What a caller asks, with the fields of the body that the gateway acts on.

    `route` is the path below `/v1/`, as `chat/completions`; `fields` are the names of all
    top-level fields of the body.
    """

    request_id: str
    cluster: str
    framework: str
    route: str
    model: str
    stream: bool
    fields: frozenset[str]
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Completions:
    """Serves every route whose body names a model and goes to its engine unchanged."""

    def __init__(self, catalog: Callable[[], Catalog], backend: InferenceBackend) -> None:
        self._catalog = catalog
        self._backend = backend

    async def complete(self, person: Person, request: CompletionRequest) -> InferenceAnswer:
        """Return the engine's answer for a person, or raise a `HotnodeError`."""
        catalog = self._catalog()
        cluster = catalog.cluster(request.cluster)
        policy.require_cluster(person, cluster)
        framework = cluster.framework(request.framework)
        found = catalog.model(cluster, framework, request.model)
        model = policy.require_model(person, found, request.model)
        _admit(request, cluster, framework, model)
        answer = await self._backend.infer(
            cluster,
            InferenceRequest(
                request_id=request.request_id,
                framework=framework.name,
                model=model.id,
                path=f"/v1/{request.route}",
                body=request.body,
                timeout_s=cluster.request_timeout_s,
                headers=request.headers,
            ),
        )
        if answer.status in ENGINE_REFUSES_US:
            raise errors.BackendUnavailable(
                f"The engine of '{model.id}' refused the site's own key. The operators must act."
            )
        return answer


def _admit(
    request: CompletionRequest, cluster: Cluster, framework: Framework, model: Model
) -> None:
    """Refuse what cannot or must not reach the engine, before anything is sent."""
    if cluster.maintenance:
        raise errors.BackendUnavailable(
            f"The cluster '{cluster.name}' is under maintenance: {cluster.maintenance}"
        )
    if request.route not in model.routes:
        served = ", ".join(f"/v1/{route}" for route in model.routes)
        raise errors.RouteNotServed(
            f"The model '{model.id}' does not serve /v1/{request.route}. It serves: {served}.",
            param="model",
        )
    if request.stream:
        raise errors.StreamingUnsupported(
            f"The cluster '{cluster.name}' answers in one piece. Send 'stream': false.",
            param="stream",
        )
    reserved = sorted(request.fields & (RESERVED_EVERYWHERE | framework.reserved_fields))
    if reserved:
        raise errors.ReservedField(
            f"The field '{reserved[0]}' is set by the service. Leave it out.", param=reserved[0]
        )
