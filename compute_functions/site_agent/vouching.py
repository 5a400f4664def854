"""Gives each instance the credentials with which its relay proves itself to the hubs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.relay.credentials import Claims, signed
from compute_functions.relay.enrolment import Enrolment, key_file
from compute_functions.relay.handed_credentials import CredentialFile
from compute_functions.site import SiteDirectory

#: A job may wait so long in the scheduler's queue with its credentials (seconds).
QUEUED_AT_MOST_S = 14 * 86_400.0
#: Hubs take none that are good for longer (seconds).
LONGEST_S = 30 * 86_400.0
#: For each hub so many: the relay needs one, and others when a hub was away for long.
FOR_EACH_HUB = 4


@dataclass(frozen=True, slots=True)
class Vouching:
    """Signs for the instances of a site that has enrolled."""

    site: SiteDirectory
    enrolment: Enrolment
    #: An instance that has few left gets more at most so often (seconds).
    again_s: float = 30.0

    def vouch(self, order: Order, job_id: str) -> None:
        """Leave an instance its credentials, bound to its job."""
        claims = Claims(
            cluster=self.enrolment.cluster,
            instance=order.instance,
            job=job_id,
            framework=order.framework,
            model=order.model,
        )
        credentials = signed(
            key_file(self.site),
            claims,
            valid_s=min(QUEUED_AT_MOST_S + order.walltime_s, LONGEST_S),
            count=FOR_EACH_HUB * len(self.enrolment.hubs),
        )
        CredentialFile.of(self.site, order.instance).write(credentials)

    def runs_short(self, registrations: Iterable[Registration]) -> list[str]:
        """Return the instances that have too few left for all hubs."""
        enough = len(self.enrolment.hubs)
        return [
            found.name
            for found in registrations
            if found.attended
            and found.credentials_left is not None
            and found.credentials_left < enough
        ]
