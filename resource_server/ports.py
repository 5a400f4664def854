"""The seams of the gateway on one page: what the services need from the outside world.

Those of files and batches are on a page of their own, `batch_ports`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from compute_functions.contract import JsonObject
from resource_server.domain.catalog import Catalog, Cluster
from resource_server.domain.identity import Grant
from resource_server.domain.inference import (
    Hops,
    InferenceAnswer,
    InferenceRequest,
    Late,
    LateAnswer,
    StreamHead,
    Usage,
)
from resource_server.domain.lifecycle import Observation, Place, SiteView
from resource_server.domain.limit_rules import LimitRules
from resource_server.domain.limits import Claim, Standing, Verdict
from resource_server.domain.metrics import Page
from resource_server.domain.site_functions import SiteFunction


class IdentityProvider(Protocol):
    """Who can say whom a token belongs to."""

    async def identify(
        self, token: str, *, known: bool = False, policies: frozenset[str] = frozenset()
    ) -> Grant:
        """Return the grant behind a token that is good, its login held against `policies`.

        A token that is `known`, because it was good before, does not wait behind new ones.
        Raises `Unauthenticated` for a token that is no good here, `IdentityServiceUnavailable` if
        the provider could not be asked, `IdentityServiceBusy` if too many others were, and
        `IdentityServiceThrottled` if the provider says that there were.
        """

    async def available(self) -> bool:
        """Tell whether the provider answers right now."""


class GrantCache(Protocol):
    """What all worker processes know together of tokens, by the digest of each token.

    It takes and gives bytes, and cannot be trusted: whoever writes them seals them. It never fails
    a request: while its store does not answer, it knows nothing and grants every claim.
    """

    async def get(self, digest: bytes) -> bytes | None:
        """Return what was put last, unless its time is over."""

    async def put(self, digest: bytes, value: bytes, *, ttl_s: float) -> None:
        """Keep a value for a time."""

    async def forget(self, digest: bytes) -> None:
        """Know nothing of a token any more."""

    async def claim(self, digest: bytes, *, ttl_s: float) -> str | None:
        """Return the name of the caller's claim to ask about a token, which no other claim has.

        Until the claim is released or its time is over, all others get None.
        """

    async def release(self, digest: bytes, claim: str) -> None:
        """End this claim, whether or not anything was put; another's is left alone."""

    async def wait(self, digest: bytes, *, timeout_s: float) -> None:
        """Return as soon as nobody claims the token, at the latest when the time is over."""


class AnswerStream(Protocol):
    """An engine's answer as it comes. Who was given one closes it, whatever happens."""

    @property
    def head(self) -> StreamHead:
        """How it began."""

    @property
    def hops(self) -> Hops:
        """Where the time went, as far as it is known now."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, cut anywhere, unchanged.

        Raises `BackendInterrupted` or another `UpstreamError` if the answer breaks off. Whoever
        reads slowly slows down the engine's side of this one answer, and nothing else.
        """

    async def aclose(self) -> None:
        """Stop the engine's work on it, unless the answer is whole. Does not wait for the site."""


class InferenceBackend(Protocol):
    """What carries a request to a cluster."""

    async def infer(
        self, cluster: Cluster, request: InferenceRequest, *, late: Late | None = None
    ) -> InferenceAnswer:
        """Return the engine's answer, whatever its status.

        Raises an `UpstreamError` if no engine answered, and `PayloadTooLarge` if the transport
        cannot carry the body. One request's failure or timeout harms no other. An error whose
        `retry_after_s` is not None means that the request did not run and will not.

        A caller who is cancelled takes a request along that has not left yet. Whatever became of
        it, `late` is called once, then or as soon as it is known; otherwise it is not called.
        """

    async def stream(self, cluster: Cluster, request: InferenceRequest) -> AnswerStream:
        """Return the engine's answer as soon as its head is there, whatever its status.

        Raises what `infer` raises, with the same meaning of `retry_after_s`; `timeout_s` is for
        the head alone. A caller who is cancelled takes the request along. `StreamComesWhole` means
        that nothing ran, and that `infer` would bring the answer in one piece.
        """


class StreamMaker(Protocol):
    """Who gives a whole answer out as the stream that was asked for."""

    def asking(self, request: InferenceRequest) -> InferenceRequest:
        """Return the request for the same answer in one piece."""

    def of(self, answer: InferenceAnswer, request: InferenceRequest) -> AnswerStream:
        """Return the answer as a stream; what cannot be said in events stays what it is."""

    def waiting(self) -> StreamHead:
        """Return the head of a stream that begins before its answer has come."""

    def refusal(self, answer: InferenceAnswer, path: str) -> bytes | None:
        """Return as an event what an engine said when it refused; None if that is not clear."""


class RequestBody(Protocol):
    """The body of an OpenAI request: JSON, or a form with a file. It never changes.

    `fields` are the names of all top-level fields. What nobody replaces stays as it was, byte for
    byte; of a form, this holds for the contents of its fields.
    """

    @property
    def model(self) -> str:
        """The name of the model that is asked for."""

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted piece by piece."""

    @property
    def fields(self) -> frozenset[str]:
        """The names of all top-level fields."""

    @property
    def content(self) -> bytes:
        """The body itself."""

    @property
    def content_type(self) -> str:
        """What the body says it is."""

    def value(self, field: str) -> object:
        """Return a field as plain values; None if it is absent. Raises `InvalidRequest`."""

    def raw(self, field: str) -> bytes:
        """Return a field's JSON as it was sent; nothing if it is absent, or the body a form."""

    def replaced(self, values: Mapping[str, object]) -> Self:
        """Return a body with these fields set."""


class ImageSource(Protocol):
    """Who gets the images that a request names by address."""

    async def inlined(self, body: RequestBody) -> RequestBody:
        """Return the body with every remote image in it as a data URL.

        Raises `InvalidRequest` for an address that is refused or holds no image.
        """


class UsageReader(Protocol):
    """Who understands what an engine says about the tokens it used."""

    def __call__(self, answer: InferenceAnswer) -> Usage | None:
        """Return what the answer cost, or None if it does not say."""


class EventUsageReader(Protocol):
    """Who understands what one event of a stream says about the tokens used so far."""

    def __call__(self, data: bytes) -> Usage | None:
        """Return what its data says, or None if it does not say."""


class LimitStore(Protocol):
    """Where limits are counted, for every worker of the gateway at once.

    A place is taken for the seconds of a lease, so that a worker that dies gives its places back.
    Every method may raise `LimitStoreUnavailable`, and `LimitStoreBusy` where the store answers but
    too many others ask. After the first, what was asked may have been done.
    """

    async def take(self, claim: Claim) -> Verdict:
        """Take one request, and a place, from every limit of a claim; or nothing from any.

        Nothing is taken from a limit on tokens: there has to be one left.
        """

    async def settle(self, claim: Claim, *, tokens: int) -> tuple[Standing, ...]:
        """Give a claim's places back, charge what it used, and return how its limits stand now.

        Tokens are charged even where fewer are left. Of a claim that was not taken, or whose
        places were given back before, no place is given back.
        """

    async def renew(self, claims: Collection[Claim]) -> None:
        """Begin the leases of claims anew; a place that was lost meanwhile stays lost."""


class LimitSource(Protocol):
    """Where operators write down which limits there are."""

    async def load(self) -> LimitRules | None:
        """Return the rules if they changed since the last call, else None.

        Raises `CatalogInvalid` if what is written holds mistakes.
        """


class RedeemedCredentials(Protocol):
    """What remembers which of the sites' credentials were used: each is taken once."""

    async def redeem(self, cluster: str, name: str, *, expires_at: float) -> bool:
        """Take a credential, by the name that its cluster gave it; tell whether it was unused.

        It is remembered until it expires (seconds since the epoch), also across restarts. Raises
        `CredentialsUnknown` if nobody can tell; it may be used up then.
        """


class SiteObserver(Protocol):
    """What can say which instances a cluster runs."""

    async def observe(self, cluster: Cluster) -> Observation:
        """Return what the site sees now; raises an `UpstreamError` if it cannot be asked."""


class SiteViews(Protocol):
    """What is known of the sites without asking them, and who is told that somebody waits."""

    def view(self, cluster: str) -> SiteView:
        """Return what is known of a site now."""

    def serves(self, place: Place) -> bool | None:
        """Tell whether a model takes requests at a place; None if nobody knows."""

    async def changed(self, views: Collection[SiteView], *, within_s: float) -> bool:
        """Wait until one of these is worth another look; tell whether one is.

        Not longer than `within_s`.
        """

    def waiting(self, place: Place) -> AbstractContextManager[None]:
        """Count a request as waiting for a model at a place during the block.

        The site learns of it at once, and for which model somebody has asked it remembers.
        """


class SiteCalls(Protocol):
    """What has a site's functions called, by the site link or as a Globus Compute task."""

    async def call(self, cluster: Cluster, function: SiteFunction, wire: JsonObject) -> JsonObject:
        """Return what the function gave; a `SiteFailure` is given like everything else.

        Raises an `UpstreamError` if there is no answer. Then the function may have run: all that
        are called here may be called again.
        """

    def pause_s(self, cluster: Cluster) -> float:
        """Return how long to wait between two questions to the site (seconds)."""


class CatalogStore(Protocol):
    """Where the catalog is kept."""

    async def available(self) -> bool:
        """Tell whether the store answers right now."""

    async def version(self) -> int:
        """Return a number that grows with every change."""

    async def load(self) -> Catalog:
        """Return a snapshot of everything on offer."""


class CatalogSource(Protocol):
    """What operators edit, and what brings it into the store."""

    async def sync(self, fence: int) -> bool:
        """Bring changed files into the store; tell whether anything changed.

        Raises `CatalogInvalid`, and leaves the store as it was, if the files hold mistakes. Raises
        `LeaseLost` if `fence` is not the number of the active controller.
        """


class Lease(Protocol):
    """What makes one controller of several the active one."""

    async def acquire(self) -> int | None:
        """Take the lease for a term if it is free; return the holder's number, else None.

        The number grows with each holder. Every write states it.
        """

    async def renew(self, fence: int) -> None:
        """Begin another term; raises `LeaseLost` if somebody else has taken the lease."""

    async def release(self, fence: int) -> None:
        """Let the next one take the lease at once."""


class Tenure(Protocol):
    """The time for which a process is the active controller, from one `acquire` to its end."""

    @property
    def fence(self) -> int:
        """Its number, which every write states, in the database and elsewhere."""

    def require(self) -> None:
        """Return if it is surely not over, by this process's own clock, or raise `LeaseLost`.

        It belongs right before everything that is done outside the database, which would refuse
        an old number: a process may have been stopped for an hour since its last line.
        """


class Duty(Protocol):
    """A kind of work that the active controller does, one round after the other."""

    @property
    def name(self) -> str:
        """What the log calls it."""

    @property
    def every_s(self) -> float:
        """How long it pauses between two rounds (seconds)."""

    async def perform(self, tenure: Tenure) -> None:
        """Do one round: read the truth, take one step, write it back under the tenure's number.

        It begins anew with each tenure, and may be cancelled anywhere, as by a kill. What it raises
        ends its round and no other duty's; `LeaseLost` ends the tenure.
        """


class Part(Protocol):
    """Something that must answer for the gateway to be fit to serve."""

    async def available(self) -> bool:
        """Tell whether it answers right now."""


class ObservedRequest(Protocol):
    """One HTTP request, as an observer follows it. No method fails or waits."""

    @property
    def trace_id(self) -> str | None:
        """The trace that it belongs to, if there is one."""

    def onward(self) -> Mapping[str, str]:
        """Return headers for whoever works on it next, so that their spans join its trace."""

    def streams(self) -> None:
        """Note that its answer comes piece by piece, from now until its end."""

    def end(self, record: Mapping[str, Any]) -> None:
        """Take what the log says of the request (docs/operators/watch-the-gateway.md)."""


class RequestObserver(Protocol):
    """Who is told of every HTTP request, for metrics and traces. No method fails or waits."""

    def begin(self, headers: Iterable[tuple[bytes, bytes]]) -> ObservedRequest:
        """Follow a request that has just arrived."""

    def late(self, late: LateAnswer) -> None:
        """Take what came of a request whose caller had left."""


class MetricsSource(Protocol):
    """What can show all metrics of the gateway."""

    async def render(self, accept: str) -> Page:
        """Return the page in the form that a reader's `Accept` asks for."""
