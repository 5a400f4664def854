"""What one cluster may take of a hub: a site that is broken or hostile harms itself alone."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HubLimits:
    """How much a hub holds, for one cluster and for all together."""

    #: Links of one cluster. A large site runs hundreds of instances, with one link each.
    links: int = 2048
    #: Its connections: a relay that dials again may come before its lost one is noticed.
    connections: int = 4096
    #: What its instances name as served, and is counted from then on.
    places: int = 1024
    #: Its requests under way: each may hold a window of its answer, so all of them 1 GiB.
    requests: int = 4096
    #: Bodies of requests under way, of one cluster and of all (bytes).
    bodies: int = 256 * _MIB
    all_bodies: int = 512 * _MIB
    #: Answers that are put together before they are passed on, of one cluster and of all (bytes).
    answers: int = 256 * _MIB
    all_answers: int = 512 * _MIB


class Room:
    """Room for so much; what is taken of it is also taken of the room that it is `within`."""

    def __init__(self, most: int, *, within: Room | None = None) -> None:
        self._free = most
        self._within = within

    def take(self, size: int) -> bool:
        """Take room, if there is any."""
        if size > self._free or (self._within is not None and not self._within.take(size)):
            return False
        self._free -= size
        return True

    def give_back(self, size: int) -> None:
        """Let others have it."""
        self._free += size
        if self._within is not None:
            self._within.give_back(size)


class RequestRoom:
    """Room for requests, each with its body."""

    def __init__(self, number: Room, bodies: Room) -> None:
        self._number = number
        self._bodies = bodies

    def take(self, size: int) -> bool:
        """Take room for a request with a body of so many bytes, if there is any."""
        if not self._number.take(1):
            return False
        if self._bodies.take(size):
            return True
        self._number.give_back(1)
        return False

    def give_back(self, size: int) -> None:
        """Let others have it."""
        self._number.give_back(1)
        self._bodies.give_back(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is left of one cluster's part of a hub."""

    links: Room
    connections: Room
    places: Room
    requests: RequestRoom
    answers: Room


class Shares:
    """The parts of all clusters. Only those of the catalog come here, so there are few."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._bodies = Room(limits.all_bodies)
        self._answers = Room(limits.all_answers)
        self._shares: dict[str, Share] = {}

    def of(self, cluster: str) -> Share:
        """Return the part of a cluster."""
        share = self._shares.get(cluster)
        if share is None:
            share = self._shares[cluster] = self._whole()
        return share

    def _whole(self) -> Share:
        limits = self._limits
        return Share(
            links=Room(limits.links),
            connections=Room(limits.connections),
            places=Room(limits.places),
            requests=RequestRoom(Room(limits.requests), Room(limits.bodies, within=self._bodies)),
            answers=Room(limits.answers, within=self._answers),
        )
