"""Which failures let a request be asked elsewhere, and what its caller is told at the end."""

from __future__ import annotations

from resource_server.domain import errors


class Failover:
    """Judges the failures of one request, one after the other.

    What surely did not run may be asked elsewhere as often as there are places; what was lost with
    its instance before it was answered, once (ADR 0018).
    """

    def __init__(self) -> None:
        self._lost: errors.UpstreamError | None = None

    def judge(self, error: errors.UpstreamError, *, others: bool) -> None:
        """Return if another place is to be asked, and there are `others`.

        Raises what the caller is told otherwise. Once something was lost that is never an error
        that invites to repeat the request: it may have run.
        """
        if error.lost_unanswered:
            if self._lost is not None:
                raise errors.BackendInterrupted(
                    "The request was asked at two instances, and the connection to both was lost "
                    "before the answer came. It was not sent a third time."
                ) from error
            self._lost = error
        elif error.retry_after_s is None:
            raise error
        if not others:
            raise self._lost or error
