"""Reads what Globus Compute says about a task, from the result queue or over REST.

Return values are read as JSON and as nothing else: the SDK's own deserializer would run code that
a site put into a result.
"""

from __future__ import annotations

from globus_compute_common import messagepack
from globus_compute_sdk.errors import DeserializationError
from globus_compute_sdk.serialize import JSONData, SerializationStrategy

from resource_server.adapters.globus_compute.calls import TaskResult


class MessageError(Exception):
    """What arrived is not a result that can be read."""


#: Our own word for a return value that is no JSON, beside the agent's failure codes.
UNREADABLE = "unreadable_result"
#: What reading rubbish as JSON can raise; the last one for values nested too deeply.
_UNREADABLE_JSON = (ValueError, TypeError, KeyError, RecursionError)


def read_message(body: bytes) -> TaskResult:
    """Read a message of the result queue, or raise `MessageError`."""
    try:
        message = messagepack.unpack(body)
    except _UNREADABLE_JSON as error:
        raise MessageError(f"{type(error).__name__} in a message of {len(body)} bytes") from error
    if not isinstance(message, messagepack.message_types.Result):
        raise MessageError(f"a message of type {type(message).__name__}")
    task_id = str(message.task_id)
    if message.error_details is not None:
        return TaskResult(
            task_id=task_id,
            failure_code=message.error_details.code,
            failure_text=message.data,
            size=len(body),
        )
    return _returned(task_id, message.data, len(body))


def read_record(task_id: str, record: object) -> TaskResult | None:
    """Read the service's record of a task; None while it has no result."""
    match record:
        case {"result": str() as data}:
            return _returned(task_id, data, len(data))
        case {"exception": str() as text}:
            return TaskResult(task_id=task_id, failure_code="exception", failure_text=text)
        case _:
            return None


def _returned(task_id: str, data: str, size: int) -> TaskResult:
    try:
        value = SerializationStrategy.get_cached_by_class(JSONData).deserialize(data)
    except (DeserializationError, *_UNREADABLE_JSON) as error:
        text = f"{type(error).__name__} in a result of {len(data)} characters"
        return TaskResult(task_id=task_id, failure_code=UNREADABLE, failure_text=text, size=size)
    return TaskResult(task_id=task_id, value=value, size=size)
