"""The site's directory: where launchers leave word of their instances and requests find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compute_functions.errors import ConfigurationError

VARIABLE = "HOTNODE_SITE_DIR"


@dataclass(frozen=True, slots=True)
class SiteDirectory:
    """A directory that every host of the site sees and only the service's account may read."""

    root: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the directory that the endpoint's environment names; there is no default."""
        value = environment.get(VARIABLE)
        if not value:
            raise ConfigurationError(
                f"{VARIABLE} is not set; it belongs in the endpoint's user_environment.yaml"
            )
        return cls(Path(value))

    @property
    def instances(self) -> Path:
        """One registration per instance."""
        return self.root / "instances"

    @property
    def keys(self) -> Path:
        """The engines' API keys, one file each."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """What the engines print."""
        return self.root / "logs"

    @property
    def orders(self) -> Path:
        """What each instance is to be."""
        return self.root / "orders"

    @property
    def credentials(self) -> Path:
        """With what each instance proves itself to the hubs."""
        return self.root / "credentials"

    @property
    def control(self) -> Path:
        """What instances are told."""
        return self.root / "control"

    @property
    def agent(self) -> Path:
        """The agent's own files."""
        return self.root / "agent"

    @property
    def relay(self) -> Path:
        """What the site enrolled with at a gateway, if it did."""
        return self.root / "relay"

    def registration(self, instance: str) -> Path:
        """Return where an instance's registration stands."""
        return self.instances / f"{instance}.json"

    def prepare(self) -> None:
        """Make the folders, closed to everybody else."""
        own = (self.instances, self.keys, self.logs)
        for folder in (self.root, *own, self.orders, self.credentials, self.control, self.agent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
