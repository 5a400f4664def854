"""The files of one site, as its operator would write them from the sample `site.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from compute_functions import loopback_port, private_file
from compute_functions.site import SiteDirectory
from lab.engine import CONFIGS
from lab.recipes import ENGINES
from lab.slurm_sites import engine_files
from lab.slurm_sites.model import SMALL, KeptModel
from lab.slurm_sites.plan import SitePlan


def written(
    site: SiteDirectory, plan: SitePlan, models: Sequence[KeptModel], *, runtime_dir: Path
) -> Path:
    """Write a site's files, and return its `site.yaml`."""
    site.prepare()
    own = site.root / "files"
    weights = own / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    (weights / "weights.bin").write_text("the weights", encoding="utf-8")
    engine_files.write(own / "engines")
    (own / "models").mkdir(exist_ok=True)
    for model in models:
        if plan.name in model.clusters:
            model.write(own / "models")
    values = {
        "cluster": plan.name,
        "scheduler": "slurm",
        "provider": {"partition": "gpu", "exclusive": False},
        "hot": {"partition": "hot"},
        "job": {
            "runtime_dir": str(runtime_dir),
            "kill_wait_s": plan.clocks.kill_wait_s,
            # Walltimes that end at once are moved here, which at a real site nobody does.
            "drain_before_s": 5,
            "walltime_every_s": 2,
            # All nodes of the lab are this machine.
            **({} if plan.egress else {"task_host": loopback_port.HOST}),
            **plan.job,
        },
        "models": {
            "engine_files": str(own / "engines"),
            "engines": [SMALL, "vllm-cpu"],
            "model_files": [str(own / "models")],
            "weight_roots": [str(weights), str(CONFIGS / "tiny_models")],
            "engines_dir": str(ENGINES),
        },
        "limits": {
            "gpus": plan.gpus,
            "walltime_s": 86_400,
            "jobs": plan.nodes * plan.gpus,
            "gpus_in_all": plan.nodes * plan.gpus,
            "drain_s": 300,
            "start_deadline_s": 300,
            "heartbeat_s": 1,
            "poll_s": 1,
            **plan.limits,
        },
        # The lab's disk is this machine's, which may be nearly full.
        **({"batches": {"keep_free_bytes": 0}} if plan.batches_for else {}),
    }
    file = site.root / "site.yaml"
    private_file.write(file, yaml.safe_dump(values, sort_keys=False))
    return file
