"""The state that every endpoint of Globus Auth works on, and the checks they share."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.requests import Request

from local_globus.auth import policies
from local_globus.auth.clients import ClientSecrets
from local_globus.auth.consents import ConsentStore
from local_globus.auth.errors import InvalidRequest, Unauthenticated
from local_globus.auth.sessions import SessionStore
from local_globus.auth.signing import SigningKey
from local_globus.auth.tokens import Token, TokenStore
from local_globus.clock import Clock
from local_globus.directory import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Directory, clock and stores of one local Globus, and its address."""

    base_url: str
    clock: Clock
    directory: Directory
    clients: ClientSecrets
    consents: ConsentStore
    sessions: SessionStore
    signing: SigningKey
    tokens: TokenStore
    counters: dict[str, int] = field(default_factory=dict)

    def count(self, event: str) -> None:
        """Count an event for whoever watches a test."""
        self.counters[event] = self.counters.get(event, 0) + 1

    def token(self, text: str) -> Token | None:
        """Return what an access token stands for, if it is good and its subject still exists."""
        token = self.tokens.find(text)
        if token is None or self.directory.identity(token.subject) is None:
            return None
        return token

    def bearer(self, request: Request, resource_server: str) -> Token:
        """Return the token of a request, if it is good for a service."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        token = self.token(text) if scheme == "Bearer" else None
        if token is None or token.resource_server != resource_server:
            raise Unauthenticated
        return token

    def meets(self, policy_id: str, subject: str, session_id: str | None) -> bool | None:
        """Evaluate a policy for an identity and a session; `None` if there is no such policy."""
        policy = self.directory.policy(policy_id)
        if policy is None:
            return None
        return policies.met(
            policy,
            self.directory.account(subject),
            self.sessions.authentications(session_id),
            now=self.clock.now(),
        )


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, the first value of each."""
    fields = parse_qs((await request.body()).decode(), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def required(form: dict[str, str], name: str) -> str:
    """Return a field that must be there."""
    value = form.get(name)
    if not value:
        raise InvalidRequest(f"Missing parameter: {name}")
    return value
