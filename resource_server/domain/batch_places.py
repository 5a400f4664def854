"""Where a batch is done: by whom and for which models batches are offered, and the best place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from resource_server.domain import errors, policy, routing
from resource_server.domain.batch_offer import BatchOffer
from resource_server.domain.batch_requests import ENDPOINTS
from resource_server.domain.catalog import Catalog, Flag, Model
from resource_server.domain.identity import Person
from resource_server.domain.lifecycle import ModelState, Reach, SiteView
from resource_server.domain.prospect import Prospect, prospect
from resource_server.domain.routing import Base, Choice, Destination

#: What is known of sites, by the cluster's name.
View = Callable[[str], SiteView]

_BEST_FIRST = (
    ModelState.READY,
    ModelState.BUSY,
    ModelState.STARTING,
    ModelState.QUEUED,
    ModelState.IDLE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlace:
    """Where a batch is done, and what its cluster offers."""

    model: Model
    destination: Destination
    offer: BatchOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a batch needs of a place. `at_site` tells that its input is a file of the cluster."""

    model: str
    endpoint: str | None = None
    at_site: bool = False


def require_offer(catalog: Catalog, person: Person, base: Base) -> None:
    """Raise an error unless some cluster of a base URL takes batches of this person."""
    routing.require_base(catalog, person, base)
    offers = [
        cluster.batches
        for cluster in catalog.clusters.values()
        if base.cluster in (None, cluster.name)
        and cluster.batches is not None
        and policy.may_use(person, cluster.access)
    ]
    if not offers:
        raise errors.BatchNotOffered("No cluster that you may use here takes batches.")
    if not any(offer.is_for(person.groups, base.project) for offer in offers):
        raise _not_for(catalog, person, offers)


def endpoints(model: Model) -> tuple[str, ...]:
    """Return the paths that lines of a model's batches may name."""
    return tuple(path for path in ENDPOINTS if path.removeprefix("/v1/") in model.routes)


def place_for(
    catalog: Catalog, person: Person, base: Base, *, wanted: Wanted, view: View, now: float
) -> BatchPlace:
    """Return the best place for a batch, or raise why there is none.

    What the base URL names comes first, then a site that can be reached, then the state of the
    model, then the order of the model's file. `now` is seconds since the epoch.
    """
    choice = routing.choose(catalog, person, base, wanted.model)
    model = choice.named.model
    _require_takes_batches(choice, wanted)
    places = _allowed(catalog, person, base, choice=choice)
    if wanted.at_site and len({place.cluster.name for place in places}) > 1:
        names = ", ".join(sorted({place.cluster.name for place in places}))
        raise errors.InvalidRequest(
            "A path is one cluster's. Name the cluster: …/resource_server/{cluster}/{framework}"
            f"/v1/batches, with one of {names}.",
            param="input_file",
        )
    prospects = [(place, _prospect(catalog, model, place, view, now=now)) for place in places]
    open_ones = [(place, one) for place, one in prospects if not one.final]
    if not open_ones:
        first = prospects[0][1]
        raise errors.ModelUnavailable(
            f"The model '{model.id}' cannot be had on '{first.cluster}'. {first.never}"
        )
    best, _ = min(open_ones, key=lambda pair: _rank(base, *pair, view=view))
    return _placed(model, best)


def _require_takes_batches(choice: Choice, wanted: Wanted) -> None:
    model = choice.named.model
    if Flag.BATCH not in model.flags:
        raise errors.BatchNotOffered(
            f"The model '{model.id}' takes no batches. GET …/v1/models marks those that do with "
            "the flag B."
        )
    if choice.named.alias is not None:
        raise errors.InvalidRequest(
            f"In batches the model is named by its id, '{model.id}', in every line.", param="model"
        )
    if not endpoints(model):
        raise errors.BatchNotOffered(
            f"The model '{model.id}' takes no batches: it serves none of the paths "
            f"{', '.join(ENDPOINTS)}."
        )
    if wanted.endpoint not in {None, *endpoints(model)}:
        raise errors.RouteNotServed(
            f"The model '{model.id}' does not serve {wanted.endpoint}.", param="endpoint"
        )


def _allowed(
    catalog: Catalog, person: Person, base: Base, *, choice: Choice
) -> Sequence[Destination]:
    """Return the places that take batches of this person, and where the model is kept."""
    model = choice.named.model.id
    offered = [place for place in choice.destinations if place.cluster.batches is not None]
    if not offered:
        raise errors.BatchNotOffered(f"No cluster that serves '{model}' here takes batches.")
    allowed = [place for place in offered if _offer(place).is_for(person.groups, base.project)]
    if not allowed:
        raise _not_for(catalog, person, [_offer(place) for place in offered])
    return _kept(model, allowed)


def _kept(model: str, places: Sequence[Destination]) -> Sequence[Destination]:
    """Return the places where the model is kept.

    What operators start by hand has no site's agent that could give it a batch.
    """
    kept = [place for place in places if place.upkeep is not None]
    if not kept:
        names = ", ".join(sorted({place.cluster.name for place in places}))
        raise errors.BatchNotOffered(
            f"Batches of the model '{model}' cannot run: nobody keeps it at {names}, and an "
            "instance that is started by hand takes none. Ask the operators."
        )
    return kept


def _not_for(catalog: Catalog, person: Person, offers: Collection[BatchOffer]) -> errors.Forbidden:
    """Return the error for somebody whom no offer is for; it names no project but their own."""
    groups = sorted(frozenset[str]().union(*(offer.groups for offer in offers)))
    projects = frozenset[str]().union(*(offer.projects for offer in offers))
    meant = [f"members of the Globus groups {', '.join(groups)}"] if groups else []
    meant += ["projects that the operators have chosen"] if projects else []
    theirs = [f"below /p/{name}/openai/v1" for name in _theirs(catalog, person, projects)]
    way = f"Ask {' or '.join(theirs)}." if theirs else "Ask the operators for access."
    return errors.Forbidden(
        f"You are logged in as {person.primary.username}. Batches are for "
        f"{' and for '.join(meant)}. {way}"
    )


def _theirs(catalog: Catalog, person: Person, projects: Iterable[str]) -> list[str]:
    """Return which of these projects somebody is in."""
    found = (catalog.projects[name] for name in projects if name in catalog.projects)
    return sorted(one.name for one in found if policy.may_see(person, one.access))


def _prospect(
    catalog: Catalog, model: Model, place: Destination, view: View, *, now: float
) -> Prospect:
    return prospect(catalog, model.id, place.deployment, view(place.cluster.name), now=now)


def _rank(base: Base, place: Destination, known: Prospect, *, view: View) -> tuple[bool, bool, int]:
    state = known.state
    return (
        base.framework not in (None, place.framework.name),
        view(place.cluster.name).reach is Reach.AWAY,
        _BEST_FIRST.index(state) if state in _BEST_FIRST else len(_BEST_FIRST),
    )


def _placed(model: Model, place: Destination) -> BatchPlace:
    return BatchPlace(model=model, destination=place, offer=_offer(place))


def _offer(place: Destination) -> BatchOffer:
    offer = place.cluster.batches
    if offer is None:
        raise ValueError("the place takes no batches")
    return offer
