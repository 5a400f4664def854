"""The people, groups, policies and clients of a local Globus, read from one YAML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

SCOPE_PREFIX = "https://auth.globus.org/scopes/"


class SeedError(ValueError):
    """The seed file names something that it does not define, or leaves out a field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityProvider:
    """Where an identity logs in."""

    id: str
    name: str
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One login; an account has one or several."""

    id: str
    username: str
    name: str
    organization: str
    provider: IdentityProvider

    @property
    def domain(self) -> str:
        """What follows the `@` of the username."""
        return self.username.partition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The linked identities of one person or client, the primary one first."""

    identities: tuple[Identity, ...]
    is_client: bool = False

    @property
    def primary(self) -> Identity:
        """The identity that tokens name as their subject."""
        return self.identities[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A Globus group; members are identity ids with a membership status."""

    id: str
    name: str
    description: str
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An authentication policy, with the fields that Globus Auth gives it."""

    id: str
    name: str
    display_name: str = ""
    description: str = ""
    high_assurance: bool = False
    authentication_assurance_timeout: int | None = None
    domain_constraints_include: tuple[str, ...] | None = None
    domain_constraints_exclude: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application registered with Globus Auth; `scopes` maps a scope to those it depends on."""

    id: str
    name: str
    display_name: str
    kind: Literal["confidential", "public"]
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    redirect_uris: tuple[str, ...] = ()

    @property
    def username(self) -> str:
        """The username of the client's own identity."""
        return f"{self.id}@clients.auth.globus.org"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Everything that the seed file says."""

    providers: tuple[IdentityProvider, ...]
    accounts: tuple[Account, ...]
    groups: tuple[Group, ...]
    policies: tuple[Policy, ...]
    clients: tuple[Client, ...]


def load(path: Path | None = None) -> Seed:
    """Read a seed file, by default the one that comes with the package."""
    if path is None:
        text = resources.files("local_globus").joinpath("seed.yaml").read_text("utf-8")
    else:
        text = path.read_text("utf-8")
    try:
        return _parse(yaml.safe_load(text))
    except (KeyError, TypeError) as error:
        message = f"The seed file lacks or misnames {error}"
        raise SeedError(message) from error


def _parse(data: Mapping[str, Any]) -> Seed:
    providers = tuple(map(_provider, data["identity_providers"]))
    clients = tuple(map(_client, data["clients"]))
    accounts = _accounts(data["people"], clients, providers)
    ids = _ids(accounts, clients)
    return Seed(
        providers=providers,
        accounts=accounts,
        groups=tuple(_group(g, ids) for g in data["groups"]),
        policies=tuple(map(_policy, data["policies"])),
        clients=clients,
    )


def _provider(data: Mapping[str, Any]) -> IdentityProvider:
    return IdentityProvider(id=data["id"], name=data["name"], domains=tuple(data["domains"]))


def _accounts(
    people: Iterable[Mapping[str, Any]],
    clients: Iterable[Client],
    providers: tuple[IdentityProvider, ...],
) -> tuple[Account, ...]:
    persons = (_person(p, providers) for p in people)
    robots = (_robot(c, providers) for c in clients if c.kind == "confidential")
    return (*persons, *robots)


def _ids(accounts: Iterable[Account], clients: Iterable[Client]) -> dict[str, str]:
    """Return the ids by the names that a group's members may have."""
    usernames = {i.username: i.id for account in accounts for i in account.identities}
    return usernames | {client.name: client.id for client in clients}


def _provider_of(username: str, providers: tuple[IdentityProvider, ...]) -> IdentityProvider:
    domain = username.partition("@")[2]
    for provider in providers:
        if domain in provider.domains:
            return provider
    raise SeedError(f"No identity provider has the domain of {username}")


def _person(data: Mapping[str, Any], providers: tuple[IdentityProvider, ...]) -> Account:
    return Account(
        identities=tuple(
            Identity(
                id=identity["id"],
                username=identity["username"],
                name=data["name"],
                organization=data["organization"],
                provider=_provider_of(identity["username"], providers),
            )
            for identity in data["identities"]
        )
    )


def _robot(client: Client, providers: tuple[IdentityProvider, ...]) -> Account:
    identity = Identity(
        id=client.id,
        username=client.username,
        name=client.display_name,
        organization="",
        provider=_provider_of(client.username, providers),
    )
    return Account(identities=(identity,), is_client=True)


def _client(data: Mapping[str, Any]) -> Client:
    return Client(
        id=data["id"],
        name=data["name"],
        display_name=data["display_name"],
        kind=data["kind"],
        scopes={
            f"{SCOPE_PREFIX}{data['id']}/{name}": tuple(scope.get("depends_on", ()))
            for name, scope in data.get("scopes", {}).items()
        },
        redirect_uris=tuple(data.get("redirect_uris", ())),
    )


def _group(data: Mapping[str, Any], ids: Mapping[str, str]) -> Group:
    return Group(
        id=data["id"],
        name=data["name"],
        description=data["description"],
        members={ids[username]: status for username, status in data["members"].items()},
    )


def _policy(data: Mapping[str, Any]) -> Policy:
    domains = ("domain_constraints_include", "domain_constraints_exclude")
    lists = {key: tuple(data[key]) for key in domains if data.get(key)}
    return Policy(**{**data, **lists})
