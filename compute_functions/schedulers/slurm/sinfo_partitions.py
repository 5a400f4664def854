"""`sinfo`: which partitions there are, and what the nodes of each call their features."""

from __future__ import annotations

from dataclasses import dataclass

_FORMAT = "%P|%a|%f"
_FIELDS = _FORMAT.count("|") + 1
_NONE = "(null)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition: whether jobs that name none go there, whether it takes any, its features."""

    name: str
    default: bool
    up: bool
    features: frozenset[str] = frozenset()


def arguments(clusters: str | None = None) -> list[str]:
    """Return the command that lists every partition, once for each set of features in it."""
    return [
        *("sinfo", "--noheader", "--all", f"--format={_FORMAT}"),
        *([f"--clusters={clusters}"] if clusters else []),
    ]


def read(text: str) -> list[Partition]:
    """Return each partition once."""
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == _FIELDS:
            one = _partition(*fields)
            known = found.get(one.name, one)
            found[one.name] = Partition(
                name=one.name,
                default=one.default,
                up=one.up,
                features=known.features | one.features,
            )
    return list(found.values())


def _partition(name: str, state: str, features: str) -> Partition:
    return Partition(
        name=name.removesuffix("*"),
        default=name.endswith("*"),
        up=state == "up",
        features=frozenset() if features == _NONE else frozenset(features.split(",")),
    )
