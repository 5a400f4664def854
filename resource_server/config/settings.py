"""All settings together."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

from resource_server.config.catalog import CatalogSettings
from resource_server.config.files import FileSettings
from resource_server.config.globus import GlobusSettings
from resource_server.config.images import ImageSettings
from resource_server.config.lifecycle import LifecycleSettings
from resource_server.config.limits import LimitSettings
from resource_server.config.relays import RelaySettings
from resource_server.config.serving import ServingSettings
from resource_server.config.sharing import SharingSettings
from resource_server.config.watching import WatchingSettings


# From the last to the first on the page of all settings: pydantic begins with the last base.
class Settings(
    WatchingSettings,
    FileSettings,
    ImageSettings,
    LifecycleSettings,
    RelaySettings,
    LimitSettings,
    GlobusSettings,
    CatalogSettings,
    SharingSettings,
    ServingSettings,
    BaseSettings,
):
    """The gateway's settings."""

    model_config = SettingsConfigDict(env_prefix="HOTNODE_", frozen=True, extra="forbid")
