"""What a request to an engine adds to its line in the log: places and times, never a prompt."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from resource_server.api.context import GatewayRequest, elapsed_s, gateway_of
from resource_server.domain.inference import Hops
from resource_server.domain.routing import Base, Destination
from resource_server.services.completions import Completion, OpenCompletion, PendingCompletion

#: What the log says of an answer with which an engine refused a request.
ENGINE_ERROR = "engine_error"


def note_question(request: GatewayRequest, base: Base, model: str) -> None:
    """Note what is asked for, as far as the catalog knows it: anything may stand there."""
    note_base(request, base)
    fields = request.log_fields
    found = gateway_of(request).catalog.current().named(model)
    if found is not None:
        fields["model"] = found.model.id
        if found.alias is not None:
            fields["alias"] = found.alias.name


def note_base(request: GatewayRequest, base: Base) -> None:
    """Note what the base URL names, as far as the catalog knows it."""
    catalog, fields = gateway_of(request).catalog.current(), request.log_fields
    cluster = catalog.clusters.get(base.cluster or "")
    if cluster is not None:
        fields["cluster"] = cluster.name
        if framework := cluster.frameworks.get(base.framework or ""):
            fields["framework"] = framework.name
    if project := catalog.projects.get(base.project or ""):
        fields["project"] = project.name


def note_answer(request: GatewayRequest, completion: Completion, *, gateway_s: float) -> None:
    """Note where the answer came from, what became of it, and where the time went."""
    answer, fields = completion.answer, request.log_fields
    _note_place(fields, completion.destination, answer.transport)
    _note_times(fields, answer.hops, gateway_s)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        fields["error_code"] = ENGINE_ERROR
    if answer.task_id:
        fields["globus_task_id"] = answer.task_id
    if completion.usage is not None:
        fields |= completion.usage.numbers()
    if completion.waited_s:
        fields["wait_ms"] = _ms(completion.waited_s)


def note_stream(request: GatewayRequest, stream: OpenCompletion) -> None:
    """Note where a stream comes from, when it has its head."""
    fields, head = request.log_fields, stream.head
    fields["stream"] = True
    _note_place(fields, stream.destination, head.transport)
    if head.task_id:
        fields["globus_task_id"] = head.task_id


def note_waited(
    request: GatewayRequest, pending: PendingCompletion, answer: OpenCompletion | Completion
) -> Callable[[], None]:
    """Note how long a stream's model took, and where it comes from; return who notes its start."""
    request.log_fields["wait_ms"] = _ms(pending.waited_s)
    if isinstance(answer, OpenCompletion):
        note_stream(request, answer)
    else:
        _note_place(request.log_fields, answer.destination, answer.answer.transport)
    return partial(note_first_event, request)


def note_waiting_end(request: GatewayRequest, stream: OpenCompletion | None) -> None:
    """Note what a stream cost that had to wait, if it began at all."""
    if stream is not None:
        note_stream_end(request, stream)
        # The wait was not the gateway's work.
        fields = request.log_fields
        fields["gateway_ms"] = round(max(0.0, fields["gateway_ms"] - fields["wait_ms"]), 3)


def note_first_event(request: GatewayRequest) -> None:
    """Note how long the caller has waited for the first event."""
    request.log_fields["ttft_ms"] = _ms(elapsed_s(request))


def note_stream_end(request: GatewayRequest, stream: OpenCompletion) -> None:
    """Note what a stream cost, whether or not it came to its end, and where the time went."""
    hops = stream.hops
    _note_times(request.log_fields, hops, hops.beside(elapsed_s(request)))
    if (usage := stream.usage) is not None:
        request.log_fields |= usage.numbers()


def _note_place(fields: dict[str, object], place: Destination, transport: str) -> None:
    fields["cluster"] = place.cluster.name
    fields["framework"] = place.framework.name
    fields["transport"] = transport


def _note_times(fields: dict[str, object], hops: Hops, gateway_s: float) -> None:
    fields["gateway_ms"] = _ms(gateway_s)
    fields["queue_ms"] = _ms(hops.queue_s)
    fields["transport_ms"] = _ms(hops.transport_s)
    fields["site_ms"] = _ms(hops.site_s)
    fields["engine_ms"] = _ms(hops.engine_s)


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)
