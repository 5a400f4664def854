"""The operator's word on single models: `model load|unload|pin|unpin|disable|enable|list`."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial

from django.db import DatabaseError

from resource_server.domain import desired, errors
from resource_server.domain.catalog import Catalog
from resource_server.domain.registered import Registered, registered, said_in_vain
from resource_server.domain.upkeep import Override, Wish

_HELP = {
    Wish.LOAD: "start an instance now, as if somebody had asked for the model",
    Wish.UNLOAD: "end its instances; it comes again when somebody asks for it",
    Wish.PIN: "keep an instance in any case",
    Wish.UNPIN: "keep no more than its file says",
    Wish.DISABLE: "end its instances, and start none until it is enabled",
    Wish.ENABLE: "take back a disable",
}


def describe(command: ArgumentParser) -> None:
    """Say what may stand on the command line."""
    wishes = command.add_subparsers(dest="wish", required=True)
    for wish in Wish:
        one = wishes.add_parser(wish.value, help=_HELP[wish])
        one.add_argument("model", help="its id")
        one.add_argument("--cluster", help="there alone; default: wherever it is kept")
        if wish is Wish.PIN:
            one.add_argument("--instances", type=int, default=1, help="default: %(default)s")
    listed = wishes.add_parser("list", help="show all models, and how they are kept where")
    listed.add_argument("--cluster", help="there alone; default: everywhere")
    listed.add_argument("--json", action="store_true", dest="as_json", help="for programs")


def run(
    wish: str,
    *,
    model: str = "",
    cluster: str | None = None,
    instances: int = 1,
    as_json: bool = False,
) -> Iterator[str]:
    """Do what the command line says; yield lines for the operator. Django must be configured.

    Raises `WishRefused`, and `SchemaUnfit` if the database cannot be used.
    """
    from resource_server.store import catalog, overrides  # noqa: PLC0415 - needs Django
    from resource_server.store.models import Origin  # noqa: PLC0415 - needs Django

    try:
        if wish == "list":
            yield from _listed(catalog.load_catalog(), cluster, as_json=as_json)
            return
        tell = partial(overrides.tell, origin=Origin.CLI, now=time.time(), instances=instances)
        for place in _places(catalog.load_catalog(), model, cluster):
            yield _line(tell(model, place, Wish(wish)))
    except DatabaseError as error:
        raise errors.SchemaUnfit(f"The database cannot be used: {error}") from error


def raise_generation(to: int | None) -> str:
    """Begin another generation of desired states, `to` this number if one is given."""
    from resource_server.store import numbers  # noqa: PLC0415 - needs Django

    try:
        return f"generation {numbers.raise_generation(to)}"
    except DatabaseError as error:
        raise errors.SchemaUnfit(f"The database cannot be used: {error}") from error


def _places(catalog: Catalog, model: str, cluster: str | None) -> list[str]:
    """Return the clusters that are meant, or raise `WishRefused`."""
    found = catalog.named(model)
    if found is None:
        raise errors.WishRefused(f"The catalog has no model '{model}'.")
    kept = sorted(
        {
            place.cluster
            for place in found.model.deployments
            if desired.is_managed(catalog, place) and cluster in (None, place.cluster)
        }
    )
    if found.alias is not None:
        raise errors.WishRefused(f"'{model}' is another name of '{found.model.id}': say that.")
    if not kept:
        where = f"at '{cluster}'" if cluster else "anywhere"
        raise errors.WishRefused(f"'{model}' is not kept {where}: its file has no `lifecycle`.")
    return kept


def _listed(catalog: Catalog, cluster: str | None, *, as_json: bool) -> Iterator[str]:
    """Yield a line for each model at each place; or one JSON array."""
    found = [one for one in registered(catalog) if cluster in (None, one.place.cluster)]
    if as_json:
        yield json.dumps([one.configuration() for one in found], indent=2)
        return
    yield from map(_described, found)
    for said in said_in_vain(catalog):
        if cluster in (None, said.cluster):
            yield f"{_line(said)}; no file has it there"


def _described(one: Registered) -> str:
    place, upkeep = one.place, one.place.upkeep
    name = f"{one.model.id} at {place.cluster} ({place.framework})"
    if upkeep is None:
        return f"{name}: started by hand"
    kept = {
        "min": upkeep.min,
        "max": upkeep.max,
        "gpus": upkeep.gpus,
        "walltime": _clock(upkeep.walltime_s),
        "walltime_ratio": f"{upkeep.walltime_ratio:g}",
        "idle_timeout": _clock(upkeep.idle_timeout_s),
        "priority": upkeep.priority,
        "refresh": str(upkeep.refresh).lower(),
        "autoscale": str(upkeep.autoscale).lower(),
        "engine": one.model.engine or "",
    }
    words = " ".join(f"{key}={value}" for key, value in kept.items() if value != "")
    return f"{name}: {words}; {_said(one.said)}"


def _clock(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{left:02}"


def _line(said: Override) -> str:
    return f"{said.model} at {said.cluster}: {_said(said)}"


def _said(said: Override) -> str:
    words = []
    if said.disabled:
        words.append("disabled")
    if said.pinned:
        words.append(f"pinned to {said.pinned}")
    if said.unloaded:
        words.append("unloaded")
    return " ".join(words) or "as its file says"
