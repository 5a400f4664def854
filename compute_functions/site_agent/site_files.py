"""Reads what the site's directory says of instances, and removes what nobody needs any more."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from compute_functions import instances
from compute_functions.control import Control
from compute_functions.errors import ConfigurationError
from compute_functions.instances import Registration
from compute_functions.orders import Order
from compute_functions.reconciler.member import Draining
from compute_functions.site import SiteDirectory

log = logging.getLogger(__name__)

#: How long one who asks sees an instance that has ended (seconds).
ENDED_KEPT_S = 600.0
#: How long logs of instances are kept after their last line (seconds).
LOGS_KEPT_S = 14 * 86_400.0
#: A file that was being written for so long was left by a process that died (seconds).
DRAFTS_KEPT_S = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSaid:
    """What stands in the site's directory, each by the instance's name.

    `vouched` are the instances that have a file with credentials.
    """

    orders: dict[str, Order]
    registrations: dict[str, Registration]
    told: dict[str, Draining]
    vouched: frozenset[str]


class SiteFiles:
    """Reads the site's directory again and again, and what does not change only once.

    A folder or a file that cannot be read raises `OSError`: nothing may be decided on half of it. A
    file that is damaged is passed over, and logged once.
    """

    def __init__(self, site: SiteDirectory) -> None:
        self._site = site
        self._orders: dict[str, Order] = {}
        self._damaged: dict[Path, str] = {}

    def read(self, now: float) -> SiteSaid:
        """Return everything."""
        # Orders first: an instance that registers meanwhile has one.
        orders = self._read_orders()
        return SiteSaid(
            orders=orders,
            registrations=self._read_registrations(now),
            told=self._read_told(),
            vouched=frozenset(path.stem for path in _files(self._site.credentials)),
        )

    def _read_orders(self) -> dict[str, Order]:
        """Return all orders; they are written once, and never changed."""
        found: dict[str, Order] = {}
        for path in _files(self._site.orders):
            order = self._orders.get(path.stem) or self._read_order(path)
            if order is not None:
                found[path.stem] = order
        self._orders = found
        return dict(found)

    def _read_order(self, path: Path) -> Order | None:
        try:
            return Order.read(path)
        except FileNotFoundError:
            return None  # Taken away between the listing and the reading.
        except ConfigurationError as error:
            self._complain(path, error)
            return None

    def _read_registrations(self, now: float) -> dict[str, Registration]:
        """Return all registrations, also of instances that are not ours."""
        found: dict[str, Registration] = {}
        for path in _files(self._site.instances):
            try:
                registration = Registration.read(path).observed(now)
                _check(registration, path.stem)
            except FileNotFoundError:
                continue
            except (ConfigurationError, TypeError) as error:
                self._complain(path, error)
                continue
            found[path.stem] = registration
        return found

    def _read_told(self) -> dict[str, Draining]:
        found = {path.stem: self._read_control(path) for path in _files(self._site.control)}
        return {name: draining for name, draining in found.items() if draining is not None}

    def _read_control(self, path: Path) -> Draining | None:
        try:
            control = Control.read(self._site, path.stem)
        except ConfigurationError as error:
            self._complain(path, error)
            return None
        if control is None or not control.drain:
            return None
        # An operator may write one by hand, without times.
        until = math.inf if control.until is None else control.until
        return Draining(since=control.since or 0.0, until=until)

    def _complain(self, path: Path, error: Exception) -> None:
        """Log what is wrong with a file, unless that was done."""
        if self._damaged.get(path) != str(error):
            log.error("file_passed_over path=%s error=%s", path, error)
        # A file is not damaged for ever, and those that are gone are not worth remembering.
        self._damaged = {one: text for one, text in self._damaged.items() if one.exists()}
        self._damaged[path] = str(error)


def _check(registration: Registration, name: str) -> None:
    """Raise `ConfigurationError` for what no instance writes of itself."""
    times = (registration.heartbeat, registration.heartbeat_s, registration.started_at)
    maybe = (
        *(registration.ready_at, registration.ends_at, registration.submitted_at),
        *(registration.walltime_s, registration.running, registration.waiting),
        *(registration.in_flight, registration.credentials_left, registration.gpu_percent),
    )
    numbers = (*times, *(one for one in maybe if one is not None))
    if registration.name != name:
        raise ConfigurationError(f"it is the registration of {registration.name!r}")
    if not all(math.isfinite(number) for number in numbers):
        raise ConfigurationError("a number in it is none")


def _files(folder: Path) -> Iterator[Path]:
    """Yield a folder's JSON files. A folder that is missing is an error, and not an empty one."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json" and not path.name.startswith("."):
            yield path


def forget(site: SiteDirectory, instance: str) -> None:
    """Take an instance's order away, and what else only a living instance needs."""
    for folder in (site.orders, site.credentials, site.control):
        (folder / f"{instance}.json").unlink(missing_ok=True)


def sweep(site: SiteDirectory, *, alive: Collection[str], now: float) -> None:
    """Remove what is left of instances that ended long ago, old logs, and files half written.

    An instance of which only a word is left, its credentials as an example, is forgotten.
    """
    for path in _forgotten(site, alive, now):
        path.unlink(missing_ok=True)
    kept_s = ((site.logs.glob("*.log"), LOGS_KEPT_S), (_drafts(site), DRAFTS_KEPT_S))
    for paths, seconds in kept_s:
        for path in paths:
            if _age_s(path, now) > seconds:
                path.unlink(missing_ok=True)


def _forgotten(site: SiteDirectory, alive: Collection[str], now: float) -> Iterator[Path]:
    for registration in instances.observed(site, now):
        is_over = registration.name not in alive and not registration.attended
        if is_over and now - registration.heartbeat > ENDED_KEPT_S:
            yield site.instances / f"{registration.name}.json"
            # Of a job that was killed: who ends by itself takes it along.
            yield site.keys / registration.name
    for folder in (site.credentials, site.control):
        for path in _files(folder):
            if path.stem not in alive and _age_s(path, now) > ENDED_KEPT_S:
                yield path


def _drafts(site: SiteDirectory) -> Iterator[Path]:
    """Yield what `private_file` and the lease leave behind when their process dies."""
    own = (site.orders, site.credentials, site.control, site.instances, site.agent)
    for folder in (*own, site.agent / "inbox"):
        for pattern in (".*.json.*", ".lease.*"):
            yield from folder.glob(pattern)


def _age_s(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
