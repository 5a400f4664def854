"""Every setting of the gateway: typed, described, read from the environment or from files.

Each field is the environment variable `HOTNODE_<FIELD>`. Secrets have no default; each may be
given by a file instead (`HOTNODE_SECRET_KEY_FILE`).
"""

from resource_server.config.invalid import SettingInvalid
from resource_server.config.limits import LARGEST_BODY_BYTES
from resource_server.config.role import Role
from resource_server.config.secret import GlobusClient, read_client
from resource_server.config.settings import Settings

__all__ = [
    "LARGEST_BODY_BYTES",
    "GlobusClient",
    "Role",
    "SettingInvalid",
    "Settings",
    "read_client",
]
