"""The Compute web service as one confidential client sees it: blocking, for one thread.

The SDK resends requests on its own after timeouts and 5xx replies. For a submission that would
run people's requests twice, so here nothing is resent but a call whose token had expired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import globus_sdk
from globus_compute_sdk import Client
from globus_compute_sdk.serialize import JSONData, SerializationStrategy
from globus_sdk.scopes import ComputeScopes
from globus_sdk.transport import (
    RequestsTransport,
    RetryCheckResult,
    RetryConfig,
    RetryContext,
)

from compute_functions.contract import JsonObject
from resource_server.adapters.globus_compute.credentials import ClientCredentials
from resource_server.adapters.globus_compute.failures import CallFailed, Fate

T = TypeVar("T")

RESULT_SERIALIZERS = ["globus_compute_sdk.serialize.JSONData"]
#: Ten megabytes over a slow line, and the service's own work (seconds).
SUBMIT_TIMEOUT_S = 60.0
INQUIRY_TIMEOUT_S = 15.0
#: A connection idle for longer is not trusted with a submission: a firewall may have dropped it,
#: and then nobody knows whether the submission arrived (seconds).
TRUST_IDLE_S = 15.0
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddresses:
    """Base URLs of Globus Auth and Compute; None leaves the choice to the SDK's environment."""

    auth: str | None = None
    compute: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One request to the service: arguments for one endpoint, by function id.

    `group` is the task group whose queue gets the results; None asks for a new one.
    """

    endpoint_id: str
    user_endpoint_config: JsonObject
    arguments: dict[str, list[JsonObject]]
    group: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The service accepted a submission: the task ids by function id, in the order sent."""

    group: str
    tasks: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """Where results arrive. The URL holds a password."""

    url: str = field(repr=False)
    prefix: str


class ComputeService:
    """Calls the service; every failure of the network or the service is a `CallFailed`."""

    def __init__(self, credentials: ClientCredentials, addresses: ServiceAddresses) -> None:
        self._credentials = credentials
        self._auth_url = addresses.auth
        self._login = self._login_client()
        self._authorizer: globus_sdk.ClientCredentialsAuthorizer | None = None
        # Packs tasks. It calls nobody: the calls below must not be resent, and its own would be.
        self._packer = Client(
            authorizer=globus_sdk.NullAuthorizer(),
            do_version_check=False,
            data_serialization_strategy=SerializationStrategy.get_cached_by_class(JSONData),
        )
        base_url = addresses.compute or self._packer.web_service_address
        self._submit_transport = RequestsTransport(http_timeout=SUBMIT_TIMEOUT_S)
        self._submitted_at = time.monotonic()
        self._v3 = globus_sdk.ComputeClientV3(
            base_url=base_url, transport=self._submit_transport, retry_config=_retry_config()
        )
        self._v2 = globus_sdk.ComputeClientV2(
            base_url=base_url,
            transport=RequestsTransport(http_timeout=INQUIRY_TIMEOUT_S),
            retry_config=_retry_config(),
        )

    def close(self) -> None:
        """Close every connection."""
        for client in (self._v2, self._v3, self._login):
            client.transport.close()

    def submit(self, submission: Submission) -> Receipt:
        """Hand tasks over; raises `CallFailed`, whose fate says if they can have arrived."""
        self._authorize()
        batch = self._packer.create_batch(
            task_group_id=submission.group,
            user_endpoint_config=submission.user_endpoint_config,
            create_websocket_queue=True,
            result_serializers=RESULT_SERIALIZERS,
        )
        for function_id, arguments in submission.arguments.items():
            for argument in arguments:
                batch.add(function_id, args=(argument,))
        if time.monotonic() - self._submitted_at > TRUST_IDLE_S:
            self._submit_transport.session.close()
        reply = _called(lambda: self._v3.submit(submission.endpoint_id, batch.prepare()))
        self._submitted_at = time.monotonic()
        return _receipt(reply.data, submission)

    def queue_address(self) -> QueueAddress:
        """Return where to listen for results, with fresh credentials."""
        self._authorize()
        match _called(self._v2.get_result_amqp_url).data:
            case {"queue_prefix": str() as prefix, "connection_url": str() as url}:
                return QueueAddress(url=url, prefix=prefix)
        raise CallFailed("the address of the result queue cannot be read", fate=Fate.UNKNOWN)

    def endpoint_status(self, endpoint_id: str) -> str:
        """Return the service's word for the endpoint's state, as `online`."""
        self._authorize()
        match _called(lambda: self._v2.get_endpoint_status(endpoint_id)).data:
            case {"status": str() as status}:
                return status
        raise CallFailed("the status of an endpoint cannot be read", fate=Fate.UNKNOWN)

    def task_records(self, task_ids: Sequence[str]) -> dict[str, Any]:
        """Return what the service knows of tasks, by id."""
        self._authorize()
        match _called(lambda: self._v2.get_task_batch(task_ids)).data:
            case {"results": dict() as records}:
                return records
        raise CallFailed("the status of tasks cannot be read", fate=Fate.UNKNOWN)

    def _login_client(self) -> globus_sdk.ConfidentialAppAuthClient:
        return globus_sdk.ConfidentialAppAuthClient(
            self._credentials.client_id,
            self._credentials.client_secret,
            base_url=self._auth_url,
            transport=RequestsTransport(http_timeout=INQUIRY_TIMEOUT_S),
            retry_config=_retry_config(),
        )

    def _authorize(self) -> None:
        """Get a token if there is none: what fails here has sent nothing of the call itself."""
        try:
            try:
                self._ensure_token()
            except globus_sdk.GlobusAPIError as error:
                if error.http_status != _UNAUTHORIZED or not self._changed_secret():
                    raise
                self._ensure_token()
        except globus_sdk.GlobusError as error:
            failure = CallFailed.translated(error)
            if failure.fate is Fate.UNKNOWN:
                failure.fate = Fate.NOT_SENT
            raise failure from error

    def _ensure_token(self) -> None:
        if self._authorizer is None:
            self._authorizer = globus_sdk.ClientCredentialsAuthorizer(
                self._login, ComputeScopes.all
            )
            self._v2.authorizer = self._v3.authorizer = self._authorizer
        self._authorizer.ensure_valid_token()

    def _changed_secret(self) -> bool:
        """Tell whether operators have put a new secret into the client's file, and use it."""
        now = self._credentials.reread()
        if now == self._credentials:
            return False
        self._credentials, self._authorizer = now, None
        self._login.transport.close()
        self._login = self._login_client()
        return True


def _called(call: Callable[[], T]) -> T:
    try:
        return call()
    except globus_sdk.GlobusError as error:
        raise CallFailed.translated(error) from error


def _receipt(data: object, submission: Submission) -> Receipt:
    """Read the service's answer; it must name one task for each argument."""
    sent = {function_id: len(items) for function_id, items in submission.arguments.items()}
    match data:
        case {"task_group_id": str() as group, "tasks": dict() as tasks}:
            named = {name: len(ids) for name, ids in tasks.items() if isinstance(ids, list)}
            if named == sent:
                return Receipt(group=group, tasks=tasks)
    raise CallFailed("the receipt of a submission cannot be read", fate=Fate.UNKNOWN)


def _retry_config() -> RetryConfig:
    config = RetryConfig(max_retries=1, backoff=lambda _: 0.0)
    # Checks run in the order of registration, and the SDK adds its own to these later.
    config.checks.register_check(_only_after_expired_token)
    return config


def _only_after_expired_token(context: RetryContext) -> RetryCheckResult:
    """Leave the decision about a 401 to the SDK, and let nothing else be sent again."""
    if context.response is not None and context.response.status_code == _UNAUTHORIZED:
        return RetryCheckResult.no_decision
    return RetryCheckResult.do_not_retry
