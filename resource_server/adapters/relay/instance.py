"""Which model instance a relay stands for, as its site vouches for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Longer than any name of an instance, a job or a model (characters).
_LONGEST_NAME = 255


class NotGood(Exception):
    """A credential or a session that is not taken; the text is for operators, not for relays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayInstance:
    """One instance of a model at a cluster; `job` is the scheduler's name of its job."""

    cluster: str
    instance: str
    job: str
    framework: str
    model: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What requests ask for: cluster, framework and model."""
        return self.cluster, self.framework, self.model


def claim(claims: Mapping[str, object], name: str) -> str:
    """Return a name in a token, or raise `NotGood`."""
    value = claims.get(name)
    if not isinstance(value, str) or not value.isprintable():
        raise NotGood(f"{name} is no name")
    if not 0 < len(value) <= _LONGEST_NAME:
        raise NotGood(f"{name} is empty, or longer than {_LONGEST_NAME} characters")
    return value
