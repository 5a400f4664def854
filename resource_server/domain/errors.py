"""Everything that can go wrong with a request, split by who must act.

    HotnodeError
    ├── CallerError                the caller changes the request or the token
    │   ├── InvalidRequest
    │   │   ├── StreamingUnsupported
    │   │   ├── RouteNotServed
    │   │   ├── ReservedField
    │   │   ├── InvalidImage
    │   │   ├── IdempotencyKeyReused
    │   │   ├── BatchNotOffered
    │   │   └── BatchOver, BatchNotOver, BatchFailed
    │   ├── Unauthenticated
    │   ├── Forbidden
    │   │   └── ReauthenticationRequired
    │   ├── NotFound               ClusterNotFound, FrameworkNotFound, ModelNotFound,
    │   │                          ProjectNotFound, StoredFileNotFound, BatchNotFound
    │   ├── RateLimited
    │   ├── TooManyBatches
    │   ├── FileQuotaExceeded
    │   └── PayloadTooLarge
    ├── UpstreamError              the caller waits, or an operator acts
    │   ├── IdentityServiceUnavailable
    │   ├── IdentityServiceBusy
    │   ├── IdentityServiceThrottled
    │   ├── PolicyNotEvaluated
    │   ├── ModelNotRunning
    │   ├── ModelLoading
    │   ├── ModelUnavailable
    │   ├── ImagesBusy
    │   ├── BackendUnavailable
    │   ├── BackendTimeout
    │   ├── BackendInterrupted
    │   ├── AnswerTooLarge
    │   ├── LimitStoreUnavailable
    │   ├── LimitStoreBusy
    │   ├── FilesUnavailable
    │   └── DatabaseUnavailable
    ├── StreamComesWhole           the answer is asked for in one piece; callers never see it
    ├── LeaseLost                  another controller goes on; callers never see it
    ├── SiteRefusal                a site's word about one batch; callers never see it
    │   ├── BatchNotNow
    │   ├── BatchRefusedThere
    │   └── BatchUnknownThere
    └── OperatorError              an operator acts; callers never see it
        ├── CatalogInvalid
        ├── SchemaUnfit
        ├── CredentialsUnknown
        └── WishRefused

Classes carry facts; only `resource_server.api.errors` knows status codes. `code` is part of the
API: clients may act on it. `retry_after_s` says after how many seconds trying again may help, and
is None when it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

from resource_server.domain.identity import Person
from resource_server.domain.limits import Measure, Standing

#: What to do about a login that is too old, or was made with another identity.
LOG_IN_AGAIN = (
    "Log out at https://app.globus.org/logout and run: "
    "python inference_auth_token.py authenticate --force"
)


class HotnodeError(Exception):
    """Something went wrong with a request."""

    code = "error"
    param: str | None = None
    retry_after_s: float | None = None
    #: The Globus Compute task that the error is about, if one was sent.
    task_id: str | None = None
    #: The cluster and the framework that the request had been given to, if it had been.
    place: tuple[str, str] | None = None
    #: Whose request it was, where a good token came with one that is refused.
    person: Person | None = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__ or "")

    @property
    def message(self) -> str:
        """What happened and what to do, for the caller."""
        return str(self.args[0])


class CallerError(HotnodeError):
    """The request cannot be served as it was sent."""


class InvalidRequest(CallerError):
    """The request is not valid."""

    code = "invalid_request"

    def __init__(self, message: str = "", *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class StreamingUnsupported(InvalidRequest):
    """Answers on this route come in one piece."""

    code = "streaming_not_supported"


class RouteNotServed(InvalidRequest):
    """The model does not serve this route."""

    code = "route_not_served"


class ReservedField(InvalidRequest):
    """The field is set by the service and not by callers."""

    code = "reserved_field"


class InvalidImage(InvalidRequest):
    """An image that the request names by address cannot be had."""

    code = "invalid_image_url"


class IdempotencyKeyReused(InvalidRequest):
    """Another batch was asked for with this idempotency key. Take a new key."""

    code = "idempotency_key_reused"


class BatchNotOffered(InvalidRequest):
    """The model takes no batches here; GET …/v1/models marks those that do with the flag B."""

    code = "batch_not_offered"
    param = "model"


class BatchOver(InvalidRequest):
    """The batch is over, and cannot be cancelled any more."""

    code = "batch_over"


class BatchNotOver(InvalidRequest):
    """The batch is not over, so that it has no result yet. Ask for its status."""

    code = "batch_not_over"


class BatchFailed(InvalidRequest):
    """The batch has failed, and has no result; the message says why."""

    code = "batch_failed"


class Unauthenticated(CallerError):
    """The request carries no valid token."""

    code = "invalid_api_key"


class Forbidden(CallerError):
    """This identity may not use this resource."""

    code = "permission_denied"


class ReauthenticationRequired(Forbidden):
    """Another login is needed for this: a fresh one, or one with another identity of yours.

    `policies` are the Globus policies that the login has to meet, `domains` those of identity
    providers of which it has to use one; without either, any fresh login will do.
    """

    code = "reauthentication_required"

    def __init__(
        self, message: str = "", *, policies: tuple[str, ...] = (), domains: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.policies = policies
        self.domains = domains


class NotFound(CallerError):
    """There is no such resource."""

    code = "not_found"


class ClusterNotFound(NotFound):
    """There is no such cluster."""

    code = "cluster_not_found"


class FrameworkNotFound(NotFound):
    """The cluster does not offer this framework."""

    code = "framework_not_found"


class ModelNotFound(NotFound):
    """There is no such model here, or this identity may not see it."""

    code = "model_not_found"
    param = "model"


class ProjectNotFound(NotFound):
    """There is no such project, or this identity is not in it."""

    code = "project_not_found"


class StoredFileNotFound(NotFound):
    """There is no such file, or it is not yours."""

    code = "file_not_found"


class BatchNotFound(NotFound):
    """There is no such batch, or it is not yours."""

    code = "batch_not_found"


class PayloadTooLarge(CallerError):
    """The request body is larger than the service or its transport carries."""

    code = "payload_too_large"

    def __init__(self, message: str = "", *, limit_bytes: int) -> None:
        super().__init__(message)
        self.limit_bytes = limit_bytes


class RateLimited(CallerError):
    """Too many requests or tokens lately, or too many requests at once."""

    code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float,
        measure: Measure,
        standings: tuple[Standing, ...] = (),
    ) -> None:
        super().__init__(message)
        self.retry_after_s: float = retry_after_s
        self.measure = measure
        self.standings = standings


class TooManyBatches(CallerError):
    """You have as many batches under way as are allowed. Wait for one to end, or cancel one."""

    code = "too_many_batches"


class FileQuotaExceeded(CallerError):
    """Your files would take more room than is allowed. Delete some."""

    code = "file_quota_exceeded"


class UpstreamError(HotnodeError):
    """A part behind the gateway could not answer.

    `lost_unanswered` tells that the instance is gone with its node or its link, and had answered
    nothing: the request may have run, and may be asked once more elsewhere (ADR 0018).
    """

    lost_unanswered = False


class IdentityServiceUnavailable(UpstreamError):
    """Globus Auth cannot be reached, so the token could not be checked. Try again shortly."""

    code = "identity_service_unavailable"
    retry_after_s = 10.0


class IdentityServiceBusy(UpstreamError):
    """Too many new tokens are being checked, so yours was not. Try again in a few seconds."""

    code = "identity_service_busy"
    retry_after_s = 5.0


class IdentityServiceThrottled(UpstreamError):
    """Globus Auth takes no more questions for now, so your token was not checked. Try again."""

    code = "identity_service_throttled"
    retry_after_s = 10.0


class PolicyNotEvaluated(UpstreamError):
    """Globus Auth has not said whether your login meets the policy of this resource. Try again."""

    code = "policy_not_evaluated"
    retry_after_s = 30.0


class ModelNotRunning(UpstreamError):
    """The model is not loaded on any node of the cluster."""

    code = "model_not_running"
    retry_after_s = 30.0


class ModelLoading(UpstreamError):
    """The model is being started, and was not ready in time. Send the request again.

    `state` is what is known of it, by name.
    """

    code = "model_loading"
    retry_after_s = 30.0

    def __init__(
        self,
        message: str = "",
        *,
        state: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.state = dict(state or {})
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class ModelUnavailable(UpstreamError):
    """Nobody can start the model now; the message says why.

    `state` is what is known of it, by name.
    """

    code = "model_unavailable"
    retry_after_s: float | None = None

    def __init__(
        self,
        message: str = "",
        *,
        state: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.state = dict(state or {})
        self.retry_after_s = retry_after_s


class ImagesBusy(UpstreamError):
    """Too many requests' images are being fetched. Try again shortly, or send data URLs."""

    code = "images_busy"
    retry_after_s = 5.0


class BackendUnavailable(UpstreamError):
    """The cluster cannot be reached."""

    code = "backend_unavailable"
    retry_after_s = 30.0


class BackendTimeout(UpstreamError):
    """The cluster did not answer in time."""

    code = "backend_timeout"


class BackendInterrupted(UpstreamError):
    """The answer broke off before it was whole. What came of it is good; the rest is lost."""

    code = "backend_interrupted"


class AnswerTooLarge(UpstreamError):
    """The engine's answer is larger than the transport carries."""

    code = "answer_too_large"


class LimitStoreUnavailable(UpstreamError):
    """What counts everybody's requests does not answer. Try again shortly."""

    code = "limit_store_unavailable"
    retry_after_s = 5.0


class LimitStoreBusy(UpstreamError):
    """Too many requests are being counted, so yours was not. Try again in a few seconds."""

    code = "limit_store_busy"
    retry_after_s = 5.0


class FilesUnavailable(UpstreamError):
    """The gateway cannot store or read files now. Try again later."""

    code = "files_unavailable"
    retry_after_s = 60.0


class DatabaseUnavailable(UpstreamError):
    """The gateway's database did not answer. Try again shortly."""

    code = "database_unavailable"
    retry_after_s = 5.0


class StreamComesWhole(HotnodeError):
    """The way to the cluster brings answers in one piece alone. Nothing ran."""

    code = "stream_comes_whole"


class LeaseLost(HotnodeError):
    """Another controller has taken over."""

    code = "lease_lost"


class SiteRefusal(HotnodeError):
    """A site answers, and does not do what it is asked with a batch."""

    code = "site_refusal"


class BatchNotNow(SiteRefusal):
    """The site cannot do it now; the message says why, in words for the batch's owner."""

    code = "batch_not_now"


class BatchRefusedThere(SiteRefusal):
    """The site does not take the batch, now or later; the message says why to its owner."""

    code = "batch_refused_there"


class BatchUnknownThere(SiteRefusal):
    """The site has no such batch."""

    code = "batch_unknown_there"


class OperatorError(HotnodeError):
    """Something is not right that only an operator can mend."""


class CatalogInvalid(OperatorError):
    """The catalog's files hold mistakes; each problem names its file, line and field."""

    code = "catalog_invalid"

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SchemaUnfit(OperatorError):
    """The database's tables are not those that this version of the code works with."""

    code = "schema_unfit"


class CredentialsUnknown(OperatorError):
    """What remembers the sites' used credentials cannot be asked."""

    code = "credentials_unknown"


class WishRefused(OperatorError):
    """What an operator asks of a model cannot be."""

    code = "wish_refused"
