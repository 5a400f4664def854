"""Globus: the gateway's clients, who gets in, and how often its services are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from resource_server.config.lists import Words


class GlobusSettings(BaseModel):
    """Globus Auth, Groups and Compute."""

    globus_client_file: Path = Field(
        description="JSON file with the gateway's Globus client: `client_id`, `client_secret`."
    )
    globus_clients_dir: Path = Field(
        description="Directory with one such JSON file for each cluster's Globus client."
    )
    globus_scope: str = Field(
        "",
        description="Scope a token must carry; by default the gateway client's `action_all`.",
    )
    globus_policies: Words = Field(
        (),
        description="Globus authentication policies that every login must meet, comma-separated; "
        "`<id>=<seconds>` also limits the login's age.",
    )
    globus_domains: Words = Field(
        (), description="Domains of identity providers admitted; none admits all."
    )
    globus_domains_of: Literal["session", "account"] = Field(
        "session",
        description="Identities that count for domains: those used to log in (`session`), "
        "or all linked ones (`account`).",
    )
    globus_groups: Words = Field(
        (), description="Globus groups, of one of which everybody must be an active member."
    )
    globus_groups_by_domain: dict[str, tuple[UUID, ...]] = Field(
        {},
        description="Globus groups by identity provider's domain, as JSON: who comes from a "
        "domain needs one of its groups; `*` stands for all other domains.",
    )
    globus_service_accounts: Words = Field(
        (), description="Ids of the Globus clients that may call the service, comma-separated."
    )
    login_max_age_s: float | None = Field(
        None,
        gt=0,
        description="Seconds after which everybody has to log in again; 604800 is 7 days.",
    )
    globus_timeout_s: float = Field(
        10.0, gt=0, description="Seconds to wait for one answer of Globus Auth or Groups."
    )
    local_globus: bool = Field(
        default=False,
        description="Accept a stand-in for Globus. For development and the demo alone.",
    )
    globus_compute_allowance: int = Field(
        20, ge=4, description="Requests that Globus Compute allows an identity per 10 seconds."
    )

    token_cache_s: float = Field(
        600.0, gt=0, le=600, description="Seconds for which a verified token is not asked again."
    )

    @field_validator("globus_policies")
    @classmethod
    def _policies_are_ids(cls, policies: tuple[str, ...]) -> tuple[str, ...]:
        for policy in policies:
            id_, equals, max_age_s = policy.partition("=")
            UUID(id_)
            if equals and not (max_age_s.isdecimal() and int(max_age_s)):
                raise ValueError(f"'{policy}' is not <id>=<seconds>")
        return policies

    @field_validator("globus_groups", "globus_service_accounts")
    @classmethod
    def _are_ids(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(UUID(id_)) for id_ in ids)
