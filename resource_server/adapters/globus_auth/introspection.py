"""What Globus Auth says about a token, and whether it is good enough here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from resource_server.domain import errors
from resource_server.domain.identity import Grant, Identity, Person

log = structlog.get_logger()

#: A token may be used this long before its first second, for clocks differ (seconds).
CLOCK_SKEW_S = 60.0

_RENEWAL = (
    "Get a new one: python inference_auth_token.py get_access_token; if that fails, log out at "
    "https://app.globus.org/logout and run: python inference_auth_token.py authenticate --force"
)
INACTIVE = f"Your access token has expired or was revoked. {_RENEWAL}"
NOT_A_TOKEN = f"The Authorization header holds no Globus access token. {_RENEWAL}"
NOT_FOR_US = f"This access token was issued for another service. {_RENEWAL}"
NOT_YET = "Your access token is not valid yet. Check the clock of the computer it comes from."
CONSENT_MISSING = (
    "Your login does not allow this service to see your Globus groups. Log in again and agree: "
    "python inference_auth_token.py authenticate --force"
)
POLICY_FAILED = (
    "Your login does not meet this service's policy, most likely because it is too old. Log out "
    "at https://app.globus.org/logout, then log in again with an institution that the service "
    "admits: python inference_auth_token.py authenticate --force"
)


class Unreadable(Exception):
    """Globus Auth said something that this gateway does not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a token must have: audience, scope, policies to pass, domains of which one will do.

    Without policies or domains, nobody is refused for them.
    """

    audience: str
    scope: str
    policies: tuple[str, ...] = ()
    domains: frozenset[str] = frozenset()


def grant(said: object, requirements: Requirements, *, now: float) -> Grant:
    """Return the grant behind an introspected token, without groups.

    Raises `Unauthenticated`, `Forbidden`, or `Unreadable`.
    """
    if not isinstance(said, dict) or not isinstance(said.get("active"), bool):
        raise Unreadable("the introspection is not an object with `active`")
    if not said["active"]:
        raise errors.Unauthenticated(INACTIVE)
    expires_at = _require_time(said, now)
    _require_purpose(said, requirements)
    person = _person(said)
    _require_domain(person, requirements.domains)
    _require_policies(said, requirements.policies, person)
    return Grant(person=person, expires_at=expires_at)


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


def _require_domain(person: Person, domains: frozenset[str]) -> None:
    identities = (person.primary, *person.linked)
    if domains and not any(identity.domain in domains for identity in identities):
        known = ", ".join(identity.username for identity in identities)
        raise errors.Forbidden(
            f"You are logged in as {known}; this service admits identities of "
            f"{', '.join(sorted(domains))}. Log out at https://app.globus.org/logout, then log in "
            "with such an identity: python inference_auth_token.py authenticate --force"
        )


def _require_policies(said: Mapping[str, Any], policies: tuple[str, ...], person: Person) -> None:
    evaluations = said.get("policy_evaluations")
    found = evaluations if isinstance(evaluations, dict) else {}
    failed = [policy for policy in policies if not _passed(found.get(policy))]
    if not failed:
        return
    missing = [policy for policy in failed if policy not in found]
    if missing:
        log.error("globus_policy_not_evaluated", policies=missing)
    log.info("globus_policy_failed", policies=failed, identity=person.primary.id)
    raise errors.Forbidden(POLICY_FAILED)


def _passed(evaluation: object) -> bool:
    return isinstance(evaluation, dict) and evaluation.get("evaluation") is True


def _person(said: Mapping[str, Any]) -> Person:
    """Return the holder; without the identity set there is only the one the token names."""
    subject, username = _text(said, "sub"), _text(said, "username")
    if not subject or not username:
        raise Unreadable("`sub` or `username` is no text")
    details = said.get("identity_set_detail")
    identities = {
        identity.id: identity
        for identity in map(_identity, details if isinstance(details, list) else [])
        if identity is not None
    }
    unknown = Identity(id=subject, username=username, idp_id="", idp_name="")
    primary = identities.pop(subject, unknown)
    return Person(
        primary=primary,
        name=_text(said, "name"),
        email=_text(said, "email"),
        linked=tuple(identities.values()),
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
