"""Whether the scheduler has the partitions and the features that a site's file names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from compute_functions.errors import DriverFailed
from compute_functions.schedulers import commands
from compute_functions.schedulers.commands import Commands
from compute_functions.schedulers.slurm import ENVIRONMENT, sinfo_partitions
from compute_functions.schedulers.slurm.sinfo_partitions import Partition
from compute_functions.site_config.provider_block import ProviderBlock
from compute_functions.site_config.site_file import SiteConfig

#: A feature in `[rack1*2|rack2]&nvlink`: what is no sign of that language. Counts begin with `*`.
_FEATURE = re.compile(r"(?<![*\w.:=+-])[^\s&|,()\[\]{}*!]+")


async def problems(config: SiteConfig, environment: Mapping[str, str]) -> list[str]:
    """Return what the scheduler does not have, each once; or that it does not answer."""
    asked = Commands(
        commands.environment(environment, inherit=config.job.inherit, more=ENVIRONMENT),
        timeout_s=config.provider.cmd_timeout,
    )
    try:
        text = await asked.output(*sinfo_partitions.arguments(config.provider.clusters))
    except DriverFailed as error:
        return [str(error)]
    there = sinfo_partitions.read(text)
    found = (said for block in (config.hot, config.on_demand) for said in _of_block(block, there))
    return list(dict.fromkeys(found))


def _of_block(block: ProviderBlock, there: Sequence[Partition]) -> Iterator[str]:
    names = ", ".join(sorted(one.name for one in there)) or "none at all"
    wanted = block.partition.split(",") if block.partition else []
    known = [one for one in there if one.name in wanted or (not wanted and one.default)]
    for name in wanted:
        if name not in {one.name for one in there}:
            yield f"partition '{name}': the scheduler has none of that name; it has {names}"
    if not wanted and not known:
        yield f"no partition is named, and the scheduler has no default one; it has {names}"
    yield from (f"partition '{one.name}' is down" for one in known if not one.up)
    if known and block.constraint:
        yield from _of_constraint(block.constraint, known)


def _of_constraint(constraint: str, known: Sequence[Partition]) -> Iterator[str]:
    features = frozenset[str]().union(*(one.features for one in known))
    where = ", ".join(one.name for one in known)
    for feature in _FEATURE.findall(constraint):
        if feature not in features:
            yield f"constraint '{constraint}': no node of {where} has the feature {feature}"
