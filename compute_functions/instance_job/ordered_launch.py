"""What an order and the site's files make of an instance: its launch."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import replace
from pathlib import Path

from compute_functions import engine_config, model_config
from compute_functions.engine_config import EngineConfig
from compute_functions.errors import ConfigurationError
from compute_functions.instance_job.scheduler_job import SchedulerJob
from compute_functions.launch import Launch
from compute_functions.model_config import ModelConfig
from compute_functions.orders import Order
from compute_functions.site import SiteDirectory
from compute_functions.site_config import SiteConfig
from compute_functions.site_config.policy import NODE


def ordered_launch(
    site: SiteDirectory, order: Order, job: SchedulerJob, config: SiteConfig
) -> Launch:
    """Read the files that the order names, or raise `ConfigurationError`."""
    policy = config.models
    model = model_config.load(Path(order.model_file), policy.engines_dir)
    engine = engine_config.load(Path(order.engine_file))
    _check(order, model, engine, config)
    deadline_s = min(engine.start_deadline_s, config.limits.start_deadline_s)
    return Launch(
        site=site,
        engine=replace(engine, start_deadline_s=deadline_s),
        model=model,
        name=order.instance,
        job_id=job.job_id,
        engines_dir=policy.engines_dir,
        runtime_root=config.job.runtime_dir or Path(tempfile.gettempdir()),
        node=job.node,
        gpus=order.gpus,
        walltime_s=order.walltime_s,
        submitted_at=order.submitted_at,
        heartbeat_s=config.limits.heartbeat_s,
        local_weights=config.job.local_weights_dir,
        keep_weights=config.job.keep_weights,
        extra_arguments=policy.extra_arguments.get(model.id, ()),
        task_host=config.job.task_host.replace(NODE, job.node or socket.gethostname()),
        purpose=order.purpose,
    )


def _check(order: Order, model: ModelConfig, engine: EngineConfig, config: SiteConfig) -> None:
    """Refuse files that have changed since the order, so that they are no longer of it."""
    if (model.id, engine.framework) != (order.model, order.framework):
        raise ConfigurationError(
            f"{order.model_file} and {order.engine_file} are of {model.id} with "
            f"{engine.framework}; the order is of {order.model} with {order.framework}"
        )
    if engine.name not in config.models.engines:
        raise ConfigurationError(f"{config.file}: models.engines does not allow {engine.name}")
    if not config.models.holds(model.path):
        raise ConfigurationError(f"{config.file}: {model.path} is below no weight_roots")
