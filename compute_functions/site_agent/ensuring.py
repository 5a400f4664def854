"""The function `ensure_site_agent`: the agent runs, has what it was given, says what there is."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from pathlib import Path

from compute_functions import site_config
from compute_functions.contract import (
    ContractError,
    FailureCode,
    JsonObject,
    SiteFailure,
    SiteStatus,
    UnsupportedProtocol,
    Wishes,
)
from compute_functions.errors import ConfigurationError
from compute_functions.site import SiteDirectory
from compute_functions.site_agent import json_file, starting
from compute_functions.site_agent.inbox import Inbox
from compute_functions.site_agent.lease import Lease

log = logging.getLogger(__name__)

#: An agent writes its observation every few seconds; one that is older than this is nobody's (s).
FRESH_S = 15.0
#: The function returns within so long, unless the disk hangs (seconds). A new agent has looked at
#: the site by then, unless it waits for another's lease.
WITHIN_S = 25.0
_POLL_S = 0.1


def ensure_site_agent(wire: object) -> JsonObject:
    """Hand wishes to the site's agent, start it unless it runs, and return the site's status."""
    try:
        wishes = Wishes.from_wire(wire)
        site = SiteDirectory.from_environment(os.environ)
        return _ensured(site, wishes).to_wire()
    except UnsupportedProtocol as error:
        return _failure(FailureCode.UNSUPPORTED_PROTOCOL, error)
    except ContractError as error:
        return _failure(FailureCode.INVALID_REQUEST, error)
    except (ConfigurationError, OSError, subprocess.SubprocessError) as error:
        return _failure(FailureCode.SITE_MISCONFIGURED, error)


def _ensured(site: SiteDirectory, wishes: Wishes) -> SiteStatus:
    site.prepare()
    if wishes != Wishes():
        Inbox(inbox_folder(site)).put(wishes, now_ns=time.time_ns())
    status = observed(site)
    if status is not None and not _has_died(site):
        return status
    deadline = time.monotonic() + WITHIN_S
    config = site_config.load(site)
    if starting.is_ours(site):
        starting.start(site, config, within_s=WITHIN_S)
    while (status := observed(site)) is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if status is None:
        raise ConfigurationError(
            f"the site's agent said nothing within {WITHIN_S:g} s; its log tells why"
        )
    return status


def _has_died(site: SiteDirectory) -> bool:
    """Tell whether the agent worked on this host and is dead: what it saw may look fresh."""
    holder = Lease(site.agent).holder()
    return holder is not None and holder.is_gone


def observed(site: SiteDirectory) -> SiteStatus | None:
    """Return what the agent has seen; None if that is too long ago, or it never saw anything."""
    values = json_file.read(observed_file(site))
    if values is None:
        return None
    try:
        status = SiteStatus.from_wire(values)
    except ContractError as error:
        log.warning("observation_unreadable error=%s", error)
        return None
    # A time to come is as strange as one long past: a clock has been set.
    return status if abs(time.time() - status.observed_at) < FRESH_S else None


def observed_file(site: SiteDirectory) -> Path:
    """Return where the agent writes what it sees."""
    return site.agent / "observed.json"


def inbox_folder(site: SiteDirectory) -> Path:
    """Return where wishes wait for the agent."""
    return site.agent / "inbox"


def _failure(code: FailureCode, error: Exception) -> JsonObject:
    return SiteFailure(code=code, message=str(error)).to_wire()
