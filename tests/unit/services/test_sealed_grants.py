from __future__ import annotations

import json

import pytest

from resource_server.domain.identity import (
    Authentication,
    Evaluations,
    Grant,
    Identity,
    Person,
)
from resource_server.services import sealed_grants
from resource_server.services.sealed_grants import Seal, VerifiedGrant

DIGEST, OTHER = b"d" * 32, b"e" * 32

VERIFIED = VerifiedGrant(
    grant=Grant(
        person=Person(
            primary=Identity(
                id="1",
                username="zoë@example.org",
                idp_id="i",
                idp_name="Example",
                authentication=Authentication(at=5.5, idp_id="i", acr="urn:x", amr=("pwd", "mfa")),
                groups=frozenset({"g", "h"}),
            ),
            name="Zoë",
            email="zoë@example.org",
            linked=(Identity(id="2", username="z@x.org", idp_id="", idp_name=""),),
            groups=frozenset({"g", "h", "k"}),
            policies=Evaluations(asked=frozenset({"p", "q"}), met=frozenset({"q"})),
        ),
        expires_at=12.5,
    ),
    verified_at=7.25,
    policies=frozenset({"p", "q", "r"}),
)


@pytest.fixture
def seal() -> Seal:
    return Seal(b"k" * 32)


def test_a_grant_comes_back_whole(seal):
    assert seal.open(DIGEST, seal.close(DIGEST, VERIFIED)) == VERIFIED


def test_whoever_reads_the_cache_learns_nothing_of_the_person(seal):
    sealed = seal.close(DIGEST, VERIFIED)
    for said in ("Zoë", "zo", "example.org", "Example", "email", "groups", "version", "urn:x"):
        for written in (said.encode(), json.dumps(said).strip('"').encode()):
            assert written not in sealed


def test_equal_grants_do_not_look_alike(seal):
    assert seal.close(DIGEST, VERIFIED) != seal.close(DIGEST, VERIFIED)


def test_nothing_opens_as_nothing(seal):
    assert seal.open(DIGEST, None) is None
    for length in (0, 1, 12, 27, 28):
        assert seal.open(DIGEST, b"\x00" * length) is None


def test_a_grant_is_good_for_its_own_token_alone(seal):
    assert seal.open(OTHER, seal.close(DIGEST, VERIFIED)) is None


def test_what_somebody_else_wrote_is_nothing(seal):
    assert seal.open(DIGEST, Seal(b"x" * 32).close(DIGEST, VERIFIED)) is None
    content = seal.close(DIGEST, VERIFIED)[12:]
    assert seal.open(DIGEST, content) is None
    assert seal.open(DIGEST, b"\x00" * 12 + content) is None


@pytest.mark.parametrize("position", [0, 11, 12, 100, -1])
def test_a_grant_that_was_touched_is_nothing(seal, position):
    sealed = bytearray(seal.close(DIGEST, VERIFIED))
    sealed[position] ^= 1
    assert seal.open(DIGEST, bytes(sealed)) is None


def test_another_version_is_nothing(seal, monkeypatch):
    sealed = seal.close(DIGEST, VERIFIED)
    monkeypatch.setattr(sealed_grants, "VERSION", sealed_grants.VERSION + 1)
    assert seal.open(DIGEST, sealed) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda written: written.pop("email"),
        lambda written: written.pop("version"),
        lambda written: written["identities"].clear(),
        lambda written: written["identities"][0].update(colour="red"),
    ],
)
def test_another_release_s_fields_are_nothing(seal, change):
    written = json.loads(_opened(seal))
    change(written)
    nonce = b"n" * 12
    content = seal._cipher.encrypt(nonce, json.dumps(written).encode(), DIGEST)  # noqa: SLF001 - only the holder of the key can make this
    assert seal.open(DIGEST, nonce + content) is None


def test_the_content_is_plain_json(seal):
    written = json.loads(_opened(seal))
    assert written["version"] == sealed_grants.VERSION
    assert written["groups"] == ["g", "h", "k"]


def _opened(seal: Seal) -> bytes:
    sealed = seal.close(DIGEST, VERIFIED)
    return seal._cipher.decrypt(sealed[:12], sealed[12:], DIGEST)  # noqa: SLF001 - the key's holder alone can look
