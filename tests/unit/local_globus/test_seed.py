"""The seed file that comes with the package is sound, and a faulty one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_globus import environment, seed


def test_ids_are_unique() -> None:
    known = seed.load()
    ids = [identity.id for account in known.accounts for identity in account.identities]
    ids += [group.id for group in known.groups] + [policy.id for policy in known.policies]
    ids += [client.id for client in known.clients if client.kind == "public"]

    assert len(ids) == len(set(ids))


def test_confidential_clients_have_an_identity_of_their_own() -> None:
    known = seed.load()
    identities = {i.id: i.username for account in known.accounts for i in account.identities}

    for client in known.clients:
        expected = f"{client.id}@clients.auth.globus.org"
        assert identities.get(client.id) == (expected if client.kind == "confidential" else None)


def test_a_linked_identity_shares_the_account() -> None:
    (carol,) = [a for a in seed.load().accounts if a.primary.username == "carol@partner.example"]

    assert [identity.domain for identity in carol.identities] == ["partner.example", "example.org"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bob@example.org: active", "nobody@example.org: active", "nobody@example.org"),
        ("username: eve@evil.example", "username: eve@other.example", "eve@other.example"),
        ("organization: Partner", "organisation: Partner", "organization"),
        ("high_assurance: true", "high_asurance: true", "high_asurance"),
    ],
)
def test_a_faulty_seed_names_its_fault(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = Path(seed.__file__).with_name("seed.yaml").read_text()
    assert old in text
    faulty = tmp_path / "seed.yaml"
    faulty.write_text(text.replace(old, new))

    with pytest.raises(seed.SeedError, match=message):
        seed.load(faulty)


def test_on_the_port_that_the_sdk_knows_no_proxy_is_needed() -> None:
    assert "http_proxy" not in environment.for_url("http://127.0.0.1:5000")
    variables = environment.for_url("http://127.0.0.1:5123/")
    assert variables["http_proxy"] == "http://127.0.0.1:5123"
    assert variables["no_proxy"] == variables["NO_PROXY"] == "127.0.0.1"
