"""Who calls the Compute service: token, scope and request budget, before anything else."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from local_globus.auth import scopes
from local_globus.auth.authority import Authority
from local_globus.auth.errors import Unauthenticated
from local_globus.compute import errors
from local_globus.compute.limits import RequestBudget
from local_globus.seed import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The identity that a request is made for."""

    id: str
    identities: tuple[Identity, ...]
    session_id: str | None

    @property
    def ids(self) -> set[str]:
        """The ids of every linked identity."""
        return {identity.id for identity in self.identities}


class Callers:
    """Turn the token of a request into a caller."""

    def __init__(self, authority: Authority, budget: RequestBudget) -> None:
        self._authority = authority
        self._budget = budget

    def of(self, request: Request) -> Caller:
        """Return the caller, or refuse the request."""
        try:
            token = self._authority.bearer(request, scopes.COMPUTE)
        except Unauthenticated as error:
            raise errors.unauthenticated() from error
        if scopes.COMPUTE_ALL not in token.scopes:
            raise errors.insufficient_scope()
        self._authority.count(f"compute {token.subject}")
        self._budget.spend(token.subject)
        account = self._authority.directory.account(token.subject)
        return Caller(id=token.subject, identities=account.identities, session_id=token.session_id)

    def meets(self, caller: Caller, policy_id: str) -> bool:
        """Say whether a caller meets an authentication policy; nobody meets an unknown one."""
        return bool(self._authority.meets(policy_id, caller.id, caller.session_id))

    def is_member(self, caller: Caller, group_id: str) -> bool:
        """Say whether a caller is an active member of a group."""
        group = self._authority.directory.group(group_id)
        return group is not None and any(
            group.members.get(identity_id) == "active" for identity_id in caller.ids
        )
