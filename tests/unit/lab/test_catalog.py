"""The catalog that the lab gives its gateway."""

from __future__ import annotations

import base64
from pathlib import Path
from uuid import uuid4

import pytest

from compute_functions.function_lock import FunctionLock, Locked
from lab import gateway
from resource_server.adapters import catalog_files
from resource_server.domain.catalog import Catalog, Deployment, Transport

KEY = base64.b64encode(bytes(range(32))).decode()
CHAT = "hotnode/tiny-chat"


def written(folder: Path, public_key: str = "") -> Catalog:
    """Return the catalog as the gateway reads it."""
    lock = folder / "functions.lock.json"
    names = ("run_request", "site_status")
    FunctionLock(
        functions={name: Locked(id=str(uuid4()), sha256="0" * 64) for name in names}
    ).write(lock)
    gateway.write_catalog(
        folder / "catalog",
        endpoint_id=str(uuid4()),
        functions=lock,
        client="local",
        public_key=public_key,
    )
    documents = catalog_files.read(folder / "catalog")
    return Catalog(
        [site.to_domain() for site in documents.sites],
        [model.to_domain(created=0) for model in documents.models],
    )


def test_a_site_that_has_not_enrolled_is_one_cluster(tmp_path: Path) -> None:
    catalog = written(tmp_path)

    assert {name: one.transports for name, one in catalog.clusters.items()} == {
        "local": (Transport.TASK,)
    }


def test_a_site_that_has_enrolled_can_also_be_seen_by_task_alone(tmp_path: Path) -> None:
    catalog = written(tmp_path, KEY)

    assert {name: one.transports for name, one in catalog.clusters.items()} == {
        "local": (Transport.RELAY, Transport.TASK),
        "local-tasks": (Transport.TASK,),
    }
    assert catalog.clusters["local"].relay_key == KEY
    assert catalog.clusters["local-tasks"].relay_key == ""
    assert catalog.models[CHAT].deployments == (
        Deployment(cluster="local", framework="vllm"),
        Deployment(cluster="local-tasks", framework="vllm"),
    )
    assert all(len(model.deployments) == 2 for model in catalog.models.values())


def test_a_model_s_file_keeps_its_comments(tmp_path: Path) -> None:
    written(tmp_path, KEY)

    file = tmp_path / "catalog" / "models" / "tiny-chat.yaml"
    assert "# For the launcher." in file.read_text()


def test_a_model_s_file_that_cannot_be_read_so_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "endpoint_configs" / "models"
    models.mkdir(parents=True)
    (models / "other.yaml").write_text("id: other\ndeployments: [{cluster: x, framework: y}]\n")
    monkeypatch.setattr(gateway, "ROOT", tmp_path)

    with pytest.raises(ValueError, match=r"other\.yaml"):
        written(tmp_path, KEY)
