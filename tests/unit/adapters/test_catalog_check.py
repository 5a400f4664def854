"""What `check-catalog` finds beside mistakes in single files, and what a start puts in the log."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from resource_server.__main__ import main
from resource_server.adapters import catalog_check, secret_files

ID = "7b5a0c0e-0000-4000-8000-000000000001"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    compute = {"client": "polaris", "endpoint_id": ID}
    compute["functions"] = {"run_request": ID, "site_status": ID}
    site = {"cluster": "local", "frameworks": {"vllm": {}}, "globus_compute": compute}
    model = {"id": "a/b", "deployments": [{"cluster": "local", "framework": "vllm"}]}
    for folder, document in {"sites": site, "models": model}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "only.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def test_what_there_is_is_counted(catalog, capsys, monkeypatch):
    monkeypatch.delenv("HOTNODE_GLOBUS_CLIENTS_DIR", raising=False)
    assert main(["check-catalog", str(catalog)]) == 0
    assert capsys.readouterr().out == f"{catalog}: 1 cluster, 1 model: no mistakes\n"


def test_a_cluster_s_client_is_looked_for_where_it_should_be(catalog, capsys, monkeypatch):
    clients = catalog / "clients"
    assert main(["check-catalog", str(catalog), "--clients-dir", str(clients)]) == 2
    assert f"cluster local: cannot read {clients}/polaris.json" in capsys.readouterr().err
    monkeypatch.setenv("HOTNODE_GLOBUS_CLIENTS_DIR", str(clients))
    assert main(["check-catalog", str(catalog)]) == 2

    clients.mkdir()
    (clients / "polaris.json").write_text('{"client_id": "x", "client_secret": "y"}')
    assert main(["check-catalog", str(catalog)]) == 0


def test_a_gateway_that_starts_says_which_clusters_it_cannot_reach(catalog):
    with capture_logs() as logs:
        catalog_check.log_unusable_clients(catalog, catalog / "clients")
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("globus_client_unusable", "error")
    assert entry["cluster"] == "local"
    assert "polaris.json" in entry["reason"]


def test_a_secret_that_everybody_may_read_is_pointed_out(tmp_path):
    open_, closed = tmp_path / "open", tmp_path / "closed"
    for file, mode in {open_: 0o644, closed: 0o640}.items():
        file.touch()
        file.chmod(mode)
    with capture_logs() as logs:
        secret_files.warn_if_open([open_, closed, tmp_path / "away", None])
    assert [(entry["event"], entry["path"]) for entry in logs] == [
        ("secret_file_open_to_others", str(open_))
    ]
    assert stat.S_IMODE(open_.stat().st_mode) == 0o644
