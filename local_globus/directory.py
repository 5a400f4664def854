"""Look-ups in the seed: who an identity is, which client has an id, who is in a group."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from local_globus.seed import Account, Client, Group, Identity, IdentityProvider, Policy, Seed

T = TypeVar("T", Client, Group, Identity, Policy)


class Directory:
    """The seed, indexed by what callers know."""

    def __init__(self, seed: Seed) -> None:
        self._accounts = {i.id: account for account in seed.accounts for i in account.identities}
        self._identities = _by_id(i for account in seed.accounts for i in account.identities)
        self._by_username = {i.username: i for i in self._identities.values()}
        self._clients = _by_id(seed.clients)
        self._scopes = {s: c.scopes[s] for c in seed.clients for s in c.scopes}
        self._groups = _by_id(seed.groups)
        self._policies = _by_id(seed.policies)
        self.providers: tuple[IdentityProvider, ...] = seed.providers
        self.clients: tuple[Client, ...] = seed.clients

    @property
    def people(self) -> list[Account]:
        """The accounts that can log in with a browser."""
        unique = {account.primary.id: account for account in self._accounts.values()}
        return [account for account in unique.values() if not account.is_client]

    def account(self, identity_id: str) -> Account:
        """Return the account that an identity belongs to."""
        return self._accounts[identity_id]

    def identity(self, identity_id: str) -> Identity | None:
        """Return an identity by its id."""
        return self._identities.get(identity_id)

    def identity_by_username(self, username: str) -> Identity | None:
        """Return an identity by its username."""
        return self._by_username.get(username)

    def client(self, client_id: str) -> Client | None:
        """Return a client by its id."""
        return self._clients.get(client_id)

    def policy(self, policy_id: str) -> Policy | None:
        """Return an authentication policy by its id."""
        return self._policies.get(policy_id)

    def group(self, group_id: str) -> Group | None:
        """Return a group by its id."""
        return self._groups.get(group_id)

    def groups_of(self, identities: Iterable[Identity]) -> list[Group]:
        """Return the groups in which one of the identities is a member, of any status."""
        ids = {identity.id for identity in identities}
        return [group for group in self._groups.values() if ids & set(group.members)]

    def dependencies(self, scope: str) -> tuple[str, ...] | None:
        """Return the scopes that a client's scope depends on; `None` for an unknown scope."""
        return self._scopes.get(scope)


def _by_id(found: Iterable[T]) -> dict[str, T]:
    return {one.id: one for one in found}
