"""All links of this hub, by what they serve."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import structlog

from compute_functions.contract import ContractError
from compute_functions.contract.relay import Accept, Hello
from resource_server.adapters.relay.connection import Connection
from resource_server.adapters.relay.doubts import Patience
from resource_server.adapters.relay.instance import RelayInstance
from resource_server.adapters.relay.link import Link
from resource_server.adapters.relay.load import choose
from resource_server.adapters.relay.shares import HubLimits, Share, Shares
from resource_server.adapters.relay.traffic import LinkState, Place, PlaceHealth, Traffic

log = structlog.get_logger()

#: Links of one instance at once. Its relay needs one; one that is begun anew again and again leaves
#: some that were cut.
MOST_LINKS = 8
_LIMITS = HubLimits()
_PATIENCE = Patience()


class TooManyLinks(Exception):
    """A cluster has as many links as it may have."""


class Links:
    """Finds the instance for a request. It lives as long as the process, and is empty at first."""

    def __init__(self, *, patience: Patience = _PATIENCE, limits: HubLimits = _LIMITS) -> None:
        #: The name of this process, which relays name when they dial again.
        self.hub = secrets.token_hex(16)
        self._patience = patience
        self._shares = Shares(limits)
        self._places: dict[Place, dict[tuple[str, str], Link]] = {}
        self._traffic: dict[Place, Traffic] = {}
        self._choices = 0
        self._closed = False
        #: Told of each cluster of which a link began to take requests, went on, or is over.
        self.changed: Callable[[str], None] = lambda _: None

    def __iter__(self) -> Iterator[Link]:
        return iter([link for links in self._places.values() for link in links.values()])

    def traffic(self, instance: RelayInstance) -> Traffic:
        """Return what counts the traffic of an instance's place.

        Sites name what they serve, and may name anything: what is beyond their share is not shown.
        """
        known = self._traffic.get(instance.place)
        if known is None:
            known = Traffic()
            if self.share(instance.cluster).places.take(1):
                self._traffic[instance.place] = known
        return known

    def share(self, cluster: str) -> Share:
        """Return a cluster's part of this hub."""
        return self._shares.of(cluster)

    def attach(
        self, instance: RelayInstance, hello: Hello, connection: Connection, accept: Accept
    ) -> Link:
        """Begin a link on a connection, or go on with the one that the relay names.

        Raises `ContractError` if the relay cannot go on so, and `TooManyLinks`.
        """
        if self._closed:
            raise ContractError("the hub stops")
        name = (instance.instance, hello.link)
        known = self._places.get(instance.place, {}).get(name)
        if known is not None and known.instance == instance and hello.hub == self.hub:
            away_s = known.away_s()
            known.resume(connection, hello, accept)
            log.info(
                "relay_resumed",
                **known.fields(),
                away_s=round(away_s, 3),
                requests=known.requests,
            )
            self.changed(instance.cluster)
            return known
        if known is not None:
            # The relay has lost what it knew of it.
            known.end("the relay began anew", gone=True)
        self._end_oldest(instance)
        link = self._begun(instance, hello)
        link.connect(connection, accept)
        log.info("relay_connected", **link.fields())
        self._succeed(link)
        self.changed(instance.cluster)
        return link

    def _begun(self, instance: RelayInstance, hello: Hello) -> Link:
        share = self.share(instance.cluster)
        if not share.links.take(1):
            raise TooManyLinks("the cluster has too many links")
        link = Link(
            instance,
            hello,
            traffic=self.traffic(instance),
            room=share.requests,
            gone=self._remove,
            patience=self._patience,
        )
        self._places.setdefault(instance.place, {})[instance.instance, hello.link] = link
        return link

    def failed(self, cluster: str, instances: Collection[str]) -> None:
        """Take it that these instances of a cluster have failed, and no others, as its site says.

        Their links are over as soon as they are silent, whether a cut was noticed or not.
        """
        for link in self:
            if link.instance.cluster != cluster:
                continue
            if link.instance.instance not in instances:
                changes = link.trust()
            elif changes := link.doubt():
                log.warning("relay_doubted", **link.fields())
            if changes:
                self.changed(cluster)

    def serves(self, place: Place) -> bool:
        """Tell whether an instance there takes requests right now."""
        links = self._places.get(place)
        return links is not None and any(link.state is LinkState.READY for link in links.values())

    def posts(self, cluster: str) -> list[tuple[str, str]]:
        """Return the framework and the model of each place of a cluster that takes requests."""
        return [place[1:] for place in self._places if place[0] == cluster and self.serves(place)]

    def ready(self, place: Place) -> list[Link]:
        """Return the links of a place that take requests."""
        links = self._places.get(place)
        if links is None:
            return []
        return [link for link in links.values() if link.state is LinkState.READY]

    def is_parked(self, place: Place) -> bool:
        """Tell whether a link there was cut, and may come back."""
        return any(link.state is LinkState.PARKED for link in self._places.get(place, {}).values())

    def choose(self, links: Collection[Link], affinity: str) -> Link:
        """Return the one that takes the next request."""
        link = choose(list(links), affinity)
        self._choices += 1
        link.load.chosen = self._choices
        return link

    def health(self) -> tuple[PlaceHealth, ...]:
        """Return how the links fare, and what went over them, by place."""
        return tuple(self._health(place) for place in self._traffic)

    def _health(self, place: Place) -> PlaceHealth:
        links = self._places.get(place, {}).values()
        return PlaceHealth(
            place=place,
            links=dict(Counter(link.state for link in links)),
            requests=sum(link.requests for link in links),
            traffic=self._traffic[place],
        )

    async def close(self, *, grace_s: float) -> None:
        """Take no more requests, wait for those under way, and end what is left."""
        self._closed = True
        for link in self:
            if link.state is LinkState.PARKED:
                link.end("the hub stops")
            else:
                link.drain()
        waiting = [asyncio.ensure_future(link.emptied()) for link in self]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=grace_s)
            for one in late:
                one.cancel()
        for link in self:
            link.end("the hub stops")

    def _succeed(self, link: Link) -> None:
        """Wait no more for links of an earlier process of the same relay."""
        links = self._places[link.instance.place].values()
        own = [one for one in links if one.instance.instance == link.instance.instance]
        for one in own:
            if one.run and link.run and one.run != link.run:
                one.succeed()

    def _end_oldest(self, instance: RelayInstance) -> None:
        """Make room for another link of an instance."""
        links = self._places.get(instance.place, {}).values()
        own = [link for link in links if link.instance.instance == instance.instance]
        for link in own[: max(0, len(own) + 1 - MOST_LINKS)]:
            link.end("the relay has opened too many links")

    def _remove(self, link: Link, reason: str) -> None:
        log.info("relay_gone", **link.fields(), reason=reason)
        place = link.instance.place
        links = self._places[place]
        links.pop((link.instance.instance, link.name))
        self.share(link.instance.cluster).links.give_back(1)
        if not links:
            del self._places[place]
        self.changed(link.instance.cluster)
