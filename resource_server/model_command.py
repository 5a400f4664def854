"""The operator's word on single models: `model load|unload|pin|unpin|disable|enable|list`."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial

from django.db import DatabaseError

from resource_server.domain import desired, errors
from resource_server.domain.catalog import Catalog
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
    wishes.add_parser("list", help="show what was said of models beside their files")


def run(
    wish: str, *, model: str = "", cluster: str | None = None, instances: int = 1
) -> Iterator[str]:
    """Do what the command line says; yield lines for the operator. Django must be configured.

    Raises `WishRefused`, and `SchemaUnfit` if the database cannot be used.
    """
    from resource_server.store import catalog, overrides  # noqa: PLC0415 - needs Django
    from resource_server.store.models import Origin  # noqa: PLC0415 - needs Django

    try:
        if wish == "list":
            yield from map(_line, overrides.all_overrides())
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


def _line(said: Override) -> str:
    words = [f"{said.model} at {said.cluster}:"]
    if said.disabled:
        words.append("disabled")
    if said.pinned:
        words.append(f"pinned to {said.pinned}")
    if said.unloaded:
        words.append("unloaded")
    return " ".join(words if len(words) > 1 else [*words, "as its file says"])
