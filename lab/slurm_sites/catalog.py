"""What the gateway's catalog says of the sites and their models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from lab.slurm_sites.model import FRAMEWORK, KeptModel
from lab.slurm_sites.site import CLIENT, SlurmSite


def write(
    folder: Path,
    sites: Iterable[SlurmSite],
    models: Iterable[KeptModel],
    *,
    functions: Path,
    batches_for: Mapping[str, tuple[str, ...]],
) -> None:
    """Write the catalog's files; `functions` is what the registration of functions wrote.

    `batches_for` names groups by site: see `SitePlan`.
    """
    for site in sites:
        _write_site(folder / "sites", site, functions, batches_for.get(site.name, ()))
    for model in models:
        model.write(folder / "models")


def _write_site(
    folder: Path, site: SlurmSite, functions: Path, batches_for: tuple[str, ...]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "cluster": site.name,
        "description": "A Slurm cluster of the lab",
        "frameworks": {FRAMEWORK: {}},
        "globus_compute": {
            "client": CLIENT,
            "endpoint_id": site.endpoint_id,
            "functions_file": str(functions),
            "user_endpoint_config": {"role": "login"},
            "push": bool(site.public_key),
        },
    }
    if site.public_key:
        values |= {"relay": {"public_key": site.public_key}, "transports": ["relay", "task"]}
    if batches_for:
        values["batches"] = {"groups": list(batches_for)}
    text = yaml.safe_dump(values, sort_keys=False)
    (folder / f"{site.name}.yaml").write_text(text, encoding="utf-8")
