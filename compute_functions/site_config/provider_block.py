"""The one provider block of a site: what Parsl's SlurmProvider is told for every job."""

from __future__ import annotations

import shlex
import string
from dataclasses import dataclass, replace
from typing import Any, Self

from compute_functions.operator_yaml import Section

#: What a role may have otherwise than the site's other jobs.
ROLE_FIELDS = ("partition", "account", "qos", "constraint", "scheduler_options")
_GPUS = "--gres=gpu:{gpus}"
_DIRECTIVE = "#SBATCH "


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderBlock:
    """Arguments of `parsl.providers.SlurmProvider`, under its names, and how GPUs are asked for.

    `gpus` is an option of `sbatch` with `{gpus}` in it. One job has one node.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    clusters: str | None = None
    cores_per_node: int | None = None
    mem_per_node: int | None = None
    exclusive: bool = False
    scheduler_options: str = ""
    worker_init: str = ""
    cmd_timeout: int = 10
    gpus: str = _GPUS

    @classmethod
    def read(cls, section: Section) -> Self:
        """Read the block of a site's file."""
        section.allow(*cls.__slots__)
        block = cls(**_read(section, cls.__slots__))
        _check_gpus(section, block.gpus)
        if block.clusters and "," in block.clusters:
            raise section.wrong("clusters", "must name one cluster: each is a site of its own")
        return block

    def with_role(self, section: Section) -> Self:
        """Return the block with what a role has otherwise; its scheduler options come on top."""
        section.allow(*ROLE_FIELDS)
        own = _read(section, ROLE_FIELDS)
        if "scheduler_options" in own:
            own["scheduler_options"] = "\n".join(
                filter(None, (self.scheduler_options.rstrip(), own["scheduler_options"]))
            )
        return replace(self, **own)

    def gpu_option(self, gpus: int) -> str | None:
        """Return how to ask for so many GPUs; None if a job needs none."""
        return self.gpus.format(gpus=gpus) if gpus else None

    def parsl_arguments(self) -> dict[str, Any]:
        """Return keyword arguments for the provider, less those that differ from job to job."""
        given = {name: getattr(self, name) for name in self.__slots__ if name != "gpus"}
        return {name: value for name, value in given.items() if value is not None}


def _read(section: Section, names: tuple[str, ...]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name in names:
        if section.has(name):
            read[name] = _value(section, name)
    return read


def _value(section: Section, name: str) -> str | int | bool:
    match name:
        case "exclusive":
            return section.flag(name)
        case "cores_per_node" | "mem_per_node" | "cmd_timeout":
            return section.whole_number(name, least=1)
        case "scheduler_options":
            return _options(section)
        case "worker_init":
            return section.text(name)
        case _:
            return _word(section, name)


def _word(section: Section, name: str) -> str:
    """Return a text that ends up on a `#SBATCH` line: no line of its own can be smuggled in."""
    text = section.text(name)
    if not text or any(character.isspace() for character in text):
        raise section.wrong(name, "must be one word")
    return text


def _options(section: Section) -> str:
    text = section.text("scheduler_options")
    for line in text.splitlines():
        if line.strip() and not line.startswith(_DIRECTIVE):
            raise section.wrong("scheduler_options", f"{line!r} does not begin with {_DIRECTIVE}")
        try:
            shlex.split(line, comments=False)
        except ValueError as error:
            raise section.wrong("scheduler_options", f"{line!r}: {error}") from error
    return text


def _check_gpus(section: Section, option: str) -> None:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(option) if name is not None]
    except ValueError:
        names = []
    if names != ["gpus"] or "{gpus}" not in option or not option.startswith("-"):
        raise section.wrong("gpus", "must be an option of sbatch with {gpus} in it")
