"""An endpoint agent that does one step at a time, as a test tells it, on the real wire."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Self

import globus_sdk
import pika
from globus_compute_common import messagepack
from globus_compute_common.messagepack.message_types import EPStatusReport, Result, Task
from globus_sdk.transport import RetryConfig

_WAIT_S = 10


def registration(**fields: object) -> dict[str, Any]:
    """Return the body with which an agent registers."""
    metadata = {
        "endpoint_version": "4.19.0",
        "python_version": "3.11.7",
        "hostname": "login.example.org",
        "local_user": "operator",
        "endpoint_config": "display_name: Site\n",
        "user_config_template": "engine:\n  type: ThreadPoolEngine\n",
        "user_config_schema": {"type": "object"},
    }
    return {
        "endpoint_name": "site",
        "display_name": "Site",
        "multi_user": False,
        "public": False,
        "high_assurance": False,
        "metadata": metadata,
        **fields,
    }


def compute_v2(url: str, token: str) -> globus_sdk.ComputeClientV2:
    """Return an SDK client that does not try again."""
    return globus_sdk.ComputeClientV2(
        base_url=url,
        environment="production",
        authorizer=globus_sdk.AccessTokenAuthorizer(token),
        retry_config=RetryConfig(max_retries=0),
    )


def compute_v3(url: str, token: str) -> globus_sdk.ComputeClientV3:
    """Return an SDK client that does not try again."""
    return globus_sdk.ComputeClientV3(
        base_url=url,
        environment="production",
        authorizer=globus_sdk.AccessTokenAuthorizer(token),
        retry_config=RetryConfig(max_retries=0),
    )


class Ear:
    """A connection to the broker that hears the messages of one queue, one at a time."""

    def __init__(self, url: str, queue: str) -> None:
        self.queue = queue
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self._messages = self.channel.consume(queue, inactivity_timeout=_WAIT_S)

    def next(self) -> tuple[pika.BasicProperties, bytes]:
        """Return the next message, acknowledged."""
        method, properties, body = next(self._messages)
        assert method is not None, "no message in time"
        self.channel.basic_ack(method.delivery_tag)
        return properties, body

    def result(self) -> Result:
        """Return the next message, which must be a task's result."""
        message = messagepack.unpack(self.next()[1])
        assert isinstance(message, Result)
        return message

    def close(self) -> None:
        """Close the connection."""
        if self._connection.is_open:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mouth:
    """A connection that publishes with confirms, where an outlet of the service says."""

    def __init__(self, outlet: Mapping[str, Any]) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(outlet["connection_url"]))
        self._channel = self._connection.channel()
        self._channel.exchange_declare(outlet["exchange"], passive=True)
        self._channel.queue_declare(outlet["queue"], passive=True)
        self._channel.confirm_delivery()
        self._where = dict(outlet["queue_publish_kwargs"])
        self._where["properties"] = pika.BasicProperties(**self._where["properties"])

    def say(self, message: Any, **where: str) -> None:
        """Publish a message of Globus Compute; `where` overrides the outlet."""
        body = message if isinstance(message, bytes) else messagepack.pack(message)
        self._channel.basic_publish(body=body, **(self._where | where))

    def close(self) -> None:
        """Close the connection."""
        if self._connection.is_open:
            self._connection.close()


class ScriptedWorker:
    """A user endpoint, started with the arguments of a start command."""

    def __init__(self, command: Mapping[str, Any]) -> None:
        self.command = command
        credentials = command["kwargs"]["amqp_creds"]
        self.id = credentials["endpoint_id"]
        inlet = credentials["task_queue_info"]
        self._ear = Ear(inlet["connection_url"], inlet["queue"])
        self._results = Mouth(credentials["result_queue_info"])
        self._heartbeats = Mouth(credentials["heartbeat_queue_info"])

    def beat(self, **state: object) -> None:
        """Send a heartbeat."""
        state = {"heartbeat_period": 30.0, "active": True, **state}
        self._heartbeats.say(
            EPStatusReport(endpoint_id=self.id, global_state=state, task_statuses={})
        )

    def say(self, message: bytes) -> None:
        """Send bytes where results and heartbeats go."""
        self._results.say(message)
        self._heartbeats.say(message)

    def next_task(self) -> tuple[dict[str, Any], Task]:
        """Return the headers and the content of the next task."""
        properties, body = self._ear.next()
        task = messagepack.unpack(body)
        assert isinstance(task, Task)
        return dict(properties.headers), task

    def finish(self, task_id: uuid.UUID | str, data: str, *, error: str | None = None) -> None:
        """Send a result."""
        details = None if error is None else {"code": "RemoteExecutionError", "user_message": error}
        moments = [
            {"timestamp": 1_700_000_000_000_000_000, "state": state, "actor": "worker"}
            for state in ("execution-start", "execution-end")
        ]
        software = {
            "os": "Linux",
            "python_version": "3.11.7",
            "dill_version": "0.3.9",
            "globus_compute_sdk_version": "4.19.0",
        }
        self._results.say(
            Result(
                task_id=task_id,
                data=data,
                details=software,
                error_details=details,
                task_statuses=moments,
            )
        )

    def close(self) -> None:
        """Leave without a word."""
        for part in (self._ear, self._results, self._heartbeats):
            part.close()


class ScriptedAgent:
    """A registered endpoint and its connections; `close` ends them all."""

    def __init__(self, url: str, token: str, **fields: object) -> None:
        with compute_v3(url, token) as client:
            self.registered = client.register_endpoint(registration(**fields)).data
        self.id = self.registered["endpoint_id"]
        inlet = self.registered["command_queue_info"]
        self._commands = Ear(inlet["connection_url"], inlet["queue"])
        self._heartbeats = Mouth(self.registered["heartbeat_queue_info"])
        self._workers: list[ScriptedWorker] = []

    def beat(self, period: float = 30.0) -> None:
        """Send a heartbeat."""
        state = {"heartbeat_period": period}
        self._heartbeats.say(
            EPStatusReport(endpoint_id=self.id, global_state=state, task_statuses={})
        )

    def next_command(self) -> dict[str, Any]:
        """Return the next command."""
        properties, body = self._commands.next()
        assert properties.content_type == "application/json"
        command: dict[str, Any] = json.loads(body)
        return command

    def start_worker(self) -> ScriptedWorker:
        """Obey the next start command."""
        worker = ScriptedWorker(self.next_command())
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        """Close every connection."""
        for worker in self._workers:
            worker.close()
        self._commands.close()
        self._heartbeats.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
