"""Who may open a link: who has an unused credential of its site, or a session of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import jwt

from resource_server.adapters.relay import credentials
from resource_server.adapters.relay.credentials import (
    Credential,
    SiteCredential,
    read_credential,
    read_site_credential,
)
from resource_server.adapters.relay.instance import NotGood, RelayInstance, claim
from resource_server.adapters.relay.sessions import ALGORITHM as SESSION_ALGORITHM
from resource_server.adapters.relay.sessions import Sessions
from resource_server.domain import errors
from resource_server.domain.catalog import Catalog
from resource_server.ports import RedeemedCredentials

#: The claim that names the cluster, by the token's algorithm.
_CLUSTER_IN = {credentials.ALGORITHM: "iss", SESSION_ALGORITHM: "cluster"}


class Refused(Exception):
    """A relay that is not let in: what it is answered, and why, for the log alone."""

    def __init__(self, status: HTTPStatus, reason: str, *, cluster: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.cluster = cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """An instance that was let in, and the public key of its site at that time."""

    instance: RelayInstance
    key: str

    @property
    def cluster(self) -> str:
        """The cluster of the site."""
        return self.instance.cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAdmission:
    """A site whose agent was let in, and its public key at that time."""

    cluster: str
    key: str


class Gatekeeper:
    """Lets relays in, and sites' agents; each with credentials of its own kind alone.

    `catalog` gives the present one; None until it was read for the first time, and then nobody can
    be told apart.
    """

    def __init__(
        self,
        catalog: Callable[[], Catalog | None],
        redeemed: RedeemedCredentials,
        sessions: Sessions,
    ) -> None:
        self._catalog = catalog
        self._redeemed = redeemed
        self._sessions = sessions

    async def admit(self, authorization: str) -> Admission:
        """Return which relay dials, by the header `Authorization`, or raise `Refused`."""
        token, cluster = _token(authorization), ""
        try:
            algorithm, cluster = _unverified(token)
            key = self._key(cluster)
            if algorithm == SESSION_ALGORITHM:
                return Admission(instance=self._sessions.read(token, key=key), key=key)
        except NotGood as error:
            raise Refused(HTTPStatus.UNAUTHORIZED, str(error), cluster=cluster) from error
        return await self._by_credential(token, cluster, key)

    async def admit_site(self, authorization: str) -> SiteAdmission:
        """Return which site's agent dials, by the header `Authorization`, or raise `Refused`."""
        token, cluster = _token(authorization), ""
        try:
            algorithm, cluster = _unverified(token)
            key = self._key(cluster)
            admission = SiteAdmission(cluster=cluster, key=key)
            if algorithm == SESSION_ALGORITHM:
                self._sessions.read_of_site(token, key=key)
                return admission
            credential = read_site_credential(token, cluster=cluster, key=key)
        except NotGood as error:
            raise Refused(HTTPStatus.UNAUTHORIZED, str(error), cluster=cluster) from error
        await self._redeem(cluster, credential)
        return admission

    def site_session(self, admission: SiteAdmission) -> tuple[str, float]:
        """Return a session for a site's agent, and for how many seconds it is good."""
        session = self._sessions.issue_to_site(admission.cluster, admission.key)
        return session, self._sessions.life_s

    def session(self, admission: Admission) -> tuple[str, float]:
        """Return a session for who was let in, and for how many seconds it is good."""
        return self._sessions.issue(admission.instance, admission.key), self._sessions.life_s

    def is_enrolled(self, admission: Admission | SiteAdmission) -> bool:
        """Tell whether the site still has the key with which somebody of it was let in."""
        catalog = self._catalog()
        if catalog is None:
            return True
        cluster = catalog.clusters.get(admission.cluster)
        return cluster is not None and cluster.relay_key == admission.key

    async def _by_credential(self, token: str, cluster: str, key: str) -> Admission:
        try:
            credential = read_credential(token, cluster=cluster, key=key)
        except NotGood as error:
            raise Refused(HTTPStatus.UNAUTHORIZED, str(error), cluster=cluster) from error
        await self._redeem(cluster, credential)
        return Admission(instance=credential.instance, key=key)

    async def _redeem(self, cluster: str, credential: Credential | SiteCredential) -> None:
        """Use a credential up, or raise `Refused`."""
        try:
            unused = await self._redeemed.redeem(
                cluster, credential.name, expires_at=credential.expires_at
            )
        except errors.CredentialsUnknown as error:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, error.message, cluster=cluster) from error
        if not unused:
            raise Refused(
                HTTPStatus.UNAUTHORIZED, "credential: it was used before", cluster=cluster
            )

    def _key(self, name: str) -> str:
        """Return the public key of a cluster, or raise `Refused`."""
        catalog = self._catalog()
        if catalog is None:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE, "the catalog was not read yet", cluster=name
            )
        cluster = catalog.clusters.get(name)
        if cluster is None:
            raise Refused(HTTPStatus.FORBIDDEN, "there is no such cluster", cluster=name)
        if not cluster.relay_key:
            raise Refused(HTTPStatus.FORBIDDEN, "the cluster has not enrolled", cluster=name)
        return cluster.relay_key


def _token(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(HTTPStatus.UNAUTHORIZED, "there is no token")
    return token


def _unverified(token: str) -> tuple[str, str]:
    """Return what a token says of itself: its algorithm and its cluster; or raise `NotGood`."""
    try:
        parts: Mapping[str, Any] = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError, UnicodeEncodeError) as error:
        # The last for bytes in the header that are no text.
        raise NotGood(f"it is no token: {type(error).__name__}") from error
    algorithm = str(parts["header"].get("alg"))
    if algorithm not in _CLUSTER_IN:
        raise NotGood("it is of an algorithm that is not used here")
    return algorithm, claim(parts["payload"], _CLUSTER_IN[algorithm])
