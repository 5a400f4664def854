"""`site.yaml` in the site's directory: what its operators tell the agent and the jobs."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from compute_functions import operator_yaml
from compute_functions.batch_settings import BatchSettings
from compute_functions.errors import ConfigurationError
from compute_functions.operator_yaml import Section
from compute_functions.site import SiteDirectory
from compute_functions.site_config.keeper_settings import KeeperSettings
from compute_functions.site_config.policy import JobSettings, Limits, ModelPolicy
from compute_functions.site_config.provider_block import ProviderBlock

NAME = "site.yaml"
_FIELDS = (
    "cluster",
    "scheduler",
    "provider",
    "hot",
    "on_demand",
    "job",
    "models",
    "limits",
    "keeper",
    "batches",
)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ENTER = stat.S_IXGRP | stat.S_IXOTH
_CLUSTER = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: Slurm fills in `%` in a file's name, and Parsl passes paths through a shell.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+,@=-]*")


class Scheduler(StrEnum):
    """A scheduler that the site's driver knows; each has a provider block of its own."""

    SLURM = "slurm"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """One `site.yaml`, checked.

    `provider` is for every job, `hot` and `on_demand` are the same with what the file says
    otherwise of jobs of models that are kept up always, and of the others. With `keeper`, jobs are
    blocks of the endpoint; without it, the agent submits them itself. Without `batches` the site
    takes none.
    """

    file: Path
    cluster: str
    scheduler: Scheduler
    provider: ProviderBlock
    hot: ProviderBlock
    on_demand: ProviderBlock
    job: JobSettings
    models: ModelPolicy
    limits: Limits
    keeper: KeeperSettings | None = None
    batches: BatchSettings | None = None

    def block(self, *, hot: bool) -> ProviderBlock:
        """Return the provider block for a job."""
        return self.hot if hot else self.on_demand

    @property
    def partitions(self) -> frozenset[str]:
        """Every partition in which the site has jobs; none if one of them is Slurm's default."""
        names = [block.partition for block in (self.hot, self.on_demand)]
        return frozenset(name for name in names if name) if all(names) else frozenset()


def load(site: SiteDirectory) -> SiteConfig:
    """Read the file of a site's directory."""
    if not _PLAIN_PATH.fullmatch(str(site.root.absolute())):
        raise ConfigurationError(
            f"{site.root.absolute()} cannot be a site's directory: "
            "its path may have letters, digits and / . _ + , @ = - only"
        )
    _check_closed(site)
    return load_file(site.root / NAME)


def _check_closed(site: SiteDirectory) -> None:
    """Refuse what others may write: who can change these files decides what our jobs run."""
    try:
        folder, file = site.root.stat(), (site.root / NAME).stat()
    except OSError as error:
        raise ConfigurationError(f"{site.root / NAME} cannot be read: {error.strerror}") from error
    if folder.st_mode & _OTHERS_WRITE:
        raise ConfigurationError(f"others may write in {site.root}: chmod 700 {site.root}")
    if folder.st_mode & _OTHERS_ENTER and file.st_mode & _OTHERS_WRITE:
        path = site.root / NAME
        raise ConfigurationError(f"others may write {path}: chmod 600 {path}")


def load_file(file: Path) -> SiteConfig:
    """Read a file that may stand anywhere; complaints name the file, the line and the field."""
    section = operator_yaml.load(file)
    section.allow(*_FIELDS)
    provider = ProviderBlock.read(section.section("provider"))
    return SiteConfig(
        file=file,
        cluster=_cluster(section),
        scheduler=_scheduler(section),
        provider=provider,
        hot=_role(section, "hot", provider),
        on_demand=_role(section, "on_demand", provider),
        job=JobSettings.read(section.section("job") if section.has("job") else None),
        models=ModelPolicy.read(section.section("models")),
        limits=Limits.read(section.section("limits")),
        keeper=KeeperSettings.read(section.section("keeper")) if section.has("keeper") else None,
        batches=BatchSettings.read(section.section("batches")) if section.has("batches") else None,
    )


def _cluster(section: Section) -> str:
    name = section.text("cluster")
    if not _CLUSTER.fullmatch(name):
        raise section.wrong("cluster", "must be small letters, digits and . _ - only")
    return name


def _scheduler(section: Section) -> Scheduler:
    text = section.text("scheduler")
    try:
        return Scheduler(text)
    except ValueError:
        known = ", ".join(Scheduler)
        raise section.wrong("scheduler", f"{text!r} is unknown; known are {known}") from None


def _role(section: Section, name: str, provider: ProviderBlock) -> ProviderBlock:
    return provider.with_role(section.section(name)) if section.has(name) else provider
