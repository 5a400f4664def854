"""Runs one instance in a block of the endpoint: the body of the function of the same name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from compute_functions import site_config
from compute_functions.contract import (
    PROTOCOL_VERSION,
    ContractError,
    FailureCode,
    JsonObject,
    SiteFailure,
    UnsupportedProtocol,
    fields,
)
from compute_functions.control import Control
from compute_functions.errors import ConfigurationError
from compute_functions.orders import Order
from compute_functions.site import SiteDirectory

#: Only a job's own process may become an instance: never one beside the endpoint.
_IN_A_JOB = "SLURM_JOB_ID"


def keep_instance(wire: object) -> JsonObject:
    """Run an instance to its end, and return the exit status of its job.

    An instance whose order is gone, or that was told to drain before it began, is not started.
    """
    try:
        instance = fields.text(fields.versioned(wire), "instance")
        site = SiteDirectory.from_environment(os.environ)
        return _kept(site, instance, os.environ)
    except UnsupportedProtocol as error:
        return _failure(FailureCode.UNSUPPORTED_PROTOCOL, error)
    except ContractError as error:
        return _failure(FailureCode.INVALID_REQUEST, error)
    except ConfigurationError as error:
        return _failure(FailureCode.SITE_MISCONFIGURED, error)


def _kept(site: SiteDirectory, instance: str, environment: Mapping[str, str]) -> JsonObject:
    if not environment.get(_IN_A_JOB):
        raise ConfigurationError("instances are kept in jobs alone: call the role `blocks`")
    if Path(instance).name != instance:
        raise ContractError("that is no instance's name")
    if not Order.file(site, instance).exists():
        return _status(None)
    told = Control.read(site, instance)
    if told is not None and told.drain:
        return _status(None)
    command = [
        *(str(site_config.load(site).job.python), "-P", "-m", "compute_functions.instance_job"),
        *("--site-dir", str(site.root), "--instance", instance),
    ]
    with (site.logs / f"{instance}.job.log").open("ab") as log:
        # No time limit: it ends itself before its job's walltime does.
        done = subprocess.run(  # noqa: S603 - a list of our own, the name checked above
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )
    return _status(done.returncode)


def _status(code: int | None) -> JsonObject:
    return {"v": PROTOCOL_VERSION, "status": code}


def _failure(code: FailureCode, error: Exception) -> JsonObject:
    return SiteFailure(code=code, message=str(error)).to_wire()
