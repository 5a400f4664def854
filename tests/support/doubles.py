"""Stand-ins for the gateway's ports, each named for how it behaves.

They pass the same contract suites as the adapters (`tests/contract/test_globus_*_adapter.py`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

from compute_functions.contract import GLOBUS_PAYLOAD_LIMIT
from resource_server.domain import errors
from resource_server.domain.catalog import Cluster
from resource_server.domain.identity import Authentication, Grant, Identity, Person
from resource_server.domain.inference import Hops, InferenceAnswer, InferenceRequest, Late
from resource_server.ports import AnswerStream, RequestBody


class BackendWithoutStreams:
    """Brings answers in one piece alone."""

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        raise errors.StreamComesWhole


class BackendThatEchoes(BackendWithoutStreams):
    """Answers with the request's own body, up to the size that a task carries.

    The status is 200 unless a test sets another; an `error` is raised instead of an answer.
    """

    def __init__(self) -> None:
        self.asked: list[InferenceRequest] = []
        self.status = 200
        self.error: errors.HotnodeError | None = None

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        if len(request.body) > GLOBUS_PAYLOAD_LIMIT:
            raise errors.PayloadTooLarge("Send less.", limit_bytes=GLOBUS_PAYLOAD_LIMIT)
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return InferenceAnswer(
            status=self.status,
            body=request.body,
            content_type="application/json",
            transport="task",
            hops=Hops(queue_s=0.001, transport_s=0.2, site_s=0.001, engine_s=0.05),
            task_id=str(uuid.uuid4()),
        )


class BackendThatIsAway(BackendWithoutStreams):
    """Reaches no cluster."""

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        raise errors.BackendUnavailable(f"The cluster '{cluster.name}' is offline.")


class ImagesThatAreNotAskedFor:
    """Stands where no request names an image."""

    async def inlined(self, body: RequestBody) -> RequestBody:
        raise AssertionError("nothing here names an image")


class IdentityProviderWithPeople:
    """Knows people by their tokens, and says so unless it is `away`."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self.people = dict(people)
        self.asked: list[str] = []
        self.away = False

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        self.asked.append(token)
        if self.away:
            raise errors.IdentityServiceUnavailable
        if token not in self.people:
            raise errors.Unauthenticated("The token is not known here. Get a new one.")
        return Grant(person=self.people[token], expires_at=time.time() + 3600)

    async def available(self) -> bool:
        return not self.away


def person(username: str, *groups: str) -> Person:
    """Return somebody who has just logged in; the one identity's domain is their institution."""
    identity = Identity(
        id=str(uuid.uuid5(uuid.NAMESPACE_DNS, username)),
        username=username,
        idp_id=str(uuid.uuid5(uuid.NAMESPACE_DNS, username.partition("@")[2])),
        idp_name=username.partition("@")[2],
        authentication=Authentication(at=1_800_000_000.0),
        groups=frozenset(groups),
    )
    return Person(
        primary=identity,
        name=username,
        email=username,
        groups=frozenset(groups),
        as_of=1_800_000_000.0,
    )
