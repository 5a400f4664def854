"""The files of an endpoint, rendered from a folder of `endpoint_configs/templates/`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from compute_functions import private_file
from compute_functions.errors import ConfigurationError

#: Beside this package, in a checkout and where the wheel is installed.
CONFIGS = Path(__file__).parents[1] / "endpoint_configs"
LOCAL = CONFIGS / "templates" / "local"
#: Rendered by us, now.
_RENDERED = ("config.yaml", "user_environment.yaml")
#: Taken as they are: the agent renders the template and checks against the schema.
_COPIED = ("user_config_template.yaml.j2", "user_config_schema.json")
#: How the host reaches the outside, and where Globus is. Never credentials.
PASSED_ON = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GLOBUS_SDK_ENVIRONMENT"),
    *("GLOBUS_SDK_SERVICE_URL_AUTH", "GLOBUS_SDK_SERVICE_URL_GROUPS"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the templates need to know; `heartbeat_period` is in seconds."""

    templates: Path
    site_dir: Path
    allowed_functions: tuple[str, ...]
    display_name: str
    heartbeat_period: float
    email: str | None = None


def write(folder: Path, settings: Settings, environment: Mapping[str, str]) -> None:
    """Write an endpoint's files to `folder`; `environment` is that of the agent."""
    if os.geteuid() == 0 and not settings.email:
        raise ConfigurationError("an agent that runs as root needs an address: give --email")
    texts = {name: _rendered(name, settings, folder, environment) for name in _RENDERED}
    texts |= {name: _text(settings.templates / name) for name in _COPIED}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in texts.items():
        private_file.write(folder / name, text)


def _rendered(name: str, settings: Settings, folder: Path, environment: Mapping[str, str]) -> str:
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 # YAML, not HTML; every value passes through `tojson`
    ).from_string(_text(settings.templates / f"{name}.j2"))
    try:
        return template.render(
            display_name=settings.display_name,
            email=settings.email,
            heartbeat_period=settings.heartbeat_period,
            allowed_functions=settings.allowed_functions,
            site_dir=str(settings.site_dir.absolute()),
            user_dir=str(folder.parent),
            path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            passed_on={key: environment[key] for key in PASSED_ON if key in environment},
        )
    except jinja2.TemplateError as error:
        raise ConfigurationError(f"{settings.templates / name}.j2: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
