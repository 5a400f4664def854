"""What `check-catalog` finds beside mistakes in single files, and what a start puts in the log."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from resource_server.__main__ import main
from resource_server.adapters import catalog_check, catalog_files, secret_files

ID = "7b5a0c0e-0000-4000-8000-000000000001"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    compute: dict[str, Any] = {"client": "polaris", "endpoint_id": ID}
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


def test_the_files_of_a_direct_target_are_looked_for_with_the_clients(catalog, capsys, monkeypatch):
    monkeypatch.delenv("HOTNODE_GLOBUS_CLIENTS_DIR", raising=False)
    key = catalog / "key"
    target = {"url": "https://engine.example.org/v1", "api_key_file": str(key)}
    site = {"cluster": "local", "frameworks": {"vllm": {"direct": target}}}
    (catalog / "sites" / "only.yaml").write_text(yaml.safe_dump(site))
    assert main(["check-catalog", str(catalog)]) == 0
    clients = ("--clients-dir", str(catalog))
    assert said_of(catalog, capsys, *clients)[-1].startswith(
        "cluster local, framework vllm: direct: key: No such file"
    )
    with capture_logs() as logs:
        catalog_check.log_unusable_clients(catalog, catalog)
    assert [entry["event"] for entry in logs] == ["direct_target_unusable"]
    key.write_text("k")
    assert main(["check-catalog", str(catalog), *clients]) == 0


def test_a_model_whose_batches_would_never_run_is_pointed_out(catalog, capsys, monkeypatch):
    monkeypatch.delenv("HOTNODE_GLOBUS_CLIENTS_DIR", raising=False)
    flags = "id: a/b\nflags: [B]\ndeployments: [{cluster: local, framework: vllm}]\n"
    (catalog / "models" / "only.yaml").write_text(flags)
    # No cluster takes batches yet: then the flag only says what the model is for.
    assert main(["check-catalog", str(catalog)]) == 0
    site = yaml.safe_load((catalog / "sites" / "only.yaml").read_text())
    site["globus_compute"]["functions"] |= {"run_batch": ID, "batch_file": ID}
    site["batches"] = {"groups": [ID]}
    (catalog / "sites" / "only.yaml").write_text(yaml.safe_dump(site))
    assert said_of(catalog, capsys)[-1].startswith(
        "models/only.yaml:2: flags: B: nobody keeps the model at local: it needs a lifecycle there"
    )
    # It keeps nobody from the catalog.
    assert len(catalog_files.read(catalog).models) == 1
    (catalog / "models" / "only.yaml").write_text(flags + "lifecycle: {gpus: 1}\n")
    assert main(["check-catalog", str(catalog)]) == 0


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


def said_of(catalog: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """Return what is said of a catalog with mistakes, a line each, with paths below it."""
    assert main(["check-catalog", str(catalog), *more]) == 2
    return capsys.readouterr().err.replace(f"{catalog}/", "").splitlines()


SITE = """\
cluster: Big Machine
frameworks: {vllm: {}}
transports: [pigeon]
request_timeout_s: lots
globus_compute:
  client: polaris
  client: aurora
  endpoint_id: 1234
  functions_file: away.json
"""
MODEL = """\
id: a/b c
deployments:
- {cluster: local, framework: vllm}
- {cluster: local, framework: sglang}
- elsewhere
routes: []
context_length: many
aliases: {a/b: , quick: {parameters: {cache_salt: 1}}}
access: {domains: example.org, groups: staff}
"""
#: How each line begins.
SAID = """\
sites/two.yaml:7: client: stands here twice
sites/two.yaml:1: cluster: must be 1 to 64 small letters, digits, '_' and '-', and begin with
sites/two.yaml:3: transports.0: must be 'relay', 'task' or 'direct'
sites/two.yaml:4: request_timeout_s: must be a number
sites/two.yaml:8: globus_compute.endpoint_id: must be an id such as 01234567-
sites/two.yaml:9: globus_compute.functions_file: sites/away.json is no lock file of
models/two.yaml:1: id: must be 1 to 255 letters, digits,
models/two.yaml:4: deployments.1: no site offers the framework 'sglang' on a cluster 'local'
models/two.yaml:5: deployments.2: must be fields with values of their own
models/two.yaml:6: routes: must not be empty
models/two.yaml:7: context_length: must be a whole number
models/two.yaml:8: aliases.a/b: 'a/b' also stands in models/only.yaml
models/two.yaml:8: aliases.quick.parameters.cache_salt: this field is reserved where the model
models/two.yaml:9: access.domains: must be a list
models/two.yaml:9: access.groups: must be a list
projects/one.yaml:1: access: who is in the project? Name groups or domains
projects/one.yaml:2: models: no file describes a model 'a/z'
limits.yaml:1: default.max_body_bytes: must be less than or equal to 268435456
limits.yaml:1: default.models.a/z: no file describes a model 'a/z'
limits.yaml:2: models.a/z: no file describes a model 'a/z'
limits.yaml:2: models.a/z.concurrent_requests: must be a whole number
cluster Big Machine: cannot read clients/aurora.json:
cluster local: cannot read clients/polaris.json:
"""


def test_every_mistake_in_every_file_is_named_in_one_run(catalog, capsys):
    (catalog / "sites" / "two.yaml").write_text(SITE)
    (catalog / "models" / "two.yaml").write_text(MODEL)
    (catalog / "projects").mkdir()
    (catalog / "projects" / "one.yaml").write_text("project: one\nmodels: [a/z, a/b]\n")
    (catalog / "limits.yaml").write_text(
        "default: {max_body_bytes: 1000000000, models: {a/z: {}, a/b: {}}}\n"
        "models: {a/z: {concurrent_requests: 1.5}}\n"
    )
    said = said_of(catalog, capsys, "--clients-dir", str(catalog / "clients"))
    starts = sorted(SAID.splitlines())
    assert [line[: len(start)] for line, start in zip(sorted(said), starts, strict=True)] == starts


def test_names_in_a_file_that_cannot_be_read_are_not_called_unknown(catalog, capsys):
    for folder in ("sites", "models"):
        (catalog / folder / "two.yaml").write_text("id: [\n")
    (catalog / "models" / "three.yaml").write_text(
        "id: a/c\ndeployments: [{cluster: other, framework: vllm}]\n"
    )
    (catalog / "limits.yaml").write_text("models: {a/z: {}}\n")
    said = said_of(catalog, capsys)
    assert [line.partition(" ")[0] for line in said] == ["sites/two.yaml:2:", "models/two.yaml:2:"]
