"""What Globus Auth says about a token, and whether it is good enough here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from resource_server.domain import errors
from resource_server.domain.identity import (
    Authentication,
    Evaluations,
    Grant,
    Identity,
    Person,
)

log = structlog.get_logger()

#: A token may be used this long before its first second, for clocks differ (seconds).
CLOCK_SKEW_S = 60.0

_RENEWAL = (
    "Get a new one: python inference_auth_token.py get_access_token; if that fails, log out at "
    "https://app.globus.org/logout and run: python inference_auth_token.py authenticate --force"
)
# Globus says the same of all three.
INACTIVE = (
    "Your access token has expired or was revoked. It may also be no Globus token at all. "
    f"{_RENEWAL}"
)
NOT_FOR_US = f"This access token was issued for another service. {_RENEWAL}"
NOT_YET = "Your access token is not valid yet. Check the clock of the computer it comes from."
CONSENT_MISSING = (
    "Your login does not allow this service to see your Globus groups. Log in again and agree: "
    "python inference_auth_token.py authenticate --force"
)


class Unreadable(Exception):
    """Globus Auth said something that this gateway does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a token must have: the gateway as audience, and its scope."""

    audience: str
    scope: str


def grant(
    said: object, requirements: Requirements, *, now: float, policies: frozenset[str] = frozenset()
) -> Grant:
    """Return the grant behind an introspected token, without groups.

    `policies` are those that Globus was asked about. Raises `Unauthenticated`, or `Unreadable`.
    """
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        raise Unreadable("the introspection is not an object with `active`")
    if not said["active"]:
        raise errors.Unauthenticated(INACTIVE)
    expires_at = _require_time(said, now)
    _require_purpose(said, requirements)
    return Grant(person=_person(said, policies), expires_at=expires_at)


def _require_time(said: Mapping[str, Any], now: float) -> float:
    expires_at = said.get("exp")
    if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
        raise Unreadable("`exp` is not a number")
    if expires_at <= now:
        raise errors.Unauthenticated(INACTIVE)
    not_before = said.get("nbf")
    if isinstance(not_before, int | float) and not_before > now + CLOCK_SKEW_S:
        raise errors.Unauthenticated(NOT_YET)
    return float(expires_at)


def _require_purpose(said: Mapping[str, Any], requirements: Requirements) -> None:
    """Refuse a token that was issued for another service or for less than using this one."""
    audience = said.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if requirements.audience not in audiences:
        raise errors.Unauthenticated(NOT_FOR_US)
    if requirements.scope not in str(said.get("scope", "")).split():
        raise errors.Unauthenticated(NOT_FOR_US)


def _evaluations(said: Mapping[str, Any], policies: frozenset[str]) -> Evaluations:
    """Return what Globus said of these policies; of which it says nothing, it was not asked."""
    evaluations = said.get("policy_evaluations")
    found = {
        policy: evaluation["evaluation"]
        for policy, evaluation in (evaluations if isinstance(evaluations, dict) else {}).items()
        if isinstance(evaluation, dict) and isinstance(evaluation.get("evaluation"), bool)
    }
    if missing := sorted(policies - found.keys()):
        log.error("globus_policy_not_evaluated", policies=missing)
    return Evaluations(
        asked=policies & found.keys(),
        met=frozenset(policy for policy in policies if found.get(policy) is True),
    )


def _person(said: Mapping[str, Any], policies: frozenset[str]) -> Person:
    """Return the holder; without the identity set there is only the one the token names."""
    subject, username = _text(said, "sub"), _text(said, "username")
    if not subject or not username:
        raise Unreadable("`sub` or `username` is no text")
    logins = _authentications(said)
    details = said.get("identity_set_detail")
    identities = {
        identity.id: replace(identity, authentication=logins.get(identity.id))
        for identity in map(_identity, details if isinstance(details, list) else [])
        if identity is not None
    }
    unknown = Identity(
        id=subject,
        username=username,
        idp_id="",
        idp_name="",
        authentication=logins.get(subject),
    )
    primary = identities.pop(subject, unknown)
    return Person(
        primary=primary,
        name=_text(said, "name"),
        email=_text(said, "email"),
        linked=tuple(identities.values()),
        policies=_evaluations(said, policies),
    )


def _authentications(said: Mapping[str, Any]) -> dict[str, Authentication]:
    """Return how each identity was used to log in; a service account does not log in."""
    session = said.get("session_info")
    logins = session.get("authentications") if isinstance(session, dict) else None
    read = {
        identity: _authentication(login)
        for identity, login in (logins if isinstance(logins, dict) else {}).items()
    }
    return {identity: login for identity, login in read.items() if login is not None}


def _authentication(login: object) -> Authentication | None:
    if not isinstance(login, dict):
        return None
    at = login.get("auth_time")
    if isinstance(at, bool) or not isinstance(at, int | float):
        return None
    amr = login.get("amr")
    return Authentication(
        at=float(at),
        idp_id=_text(login, "idp"),
        acr=_text(login, "acr"),
        amr=tuple(map(str, amr)) if isinstance(amr, list) else (),
    )


def _identity(detail: object) -> Identity | None:
    if not isinstance(detail, dict):
        return None
    subject, username = _text(detail, "sub"), _text(detail, "username")
    if not subject or not username:
        return None
    return Identity(
        id=subject,
        username=username,
        idp_id=_text(detail, "identity_provider"),
        idp_name=_text(detail, "identity_provider_display_name"),
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""
