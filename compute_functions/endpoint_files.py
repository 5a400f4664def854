"""The files of an endpoint, rendered from a folder of `endpoint_configs/templates/`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from compute_functions import private_file
from compute_functions.errors import ConfigurationError
from compute_functions.schedulers.slurm import times
from compute_functions.site_config import ProviderBlock, SiteConfig

#: Beside this package, in a checkout and where the wheel is installed.
CONFIGS = Path(__file__).parents[1] / "endpoint_configs"
TEMPLATES = CONFIGS / "templates"
#: Rendered by us, now.
_RENDERED = ("config.yaml", "user_environment.yaml")
#: For the agent, which renders the template again and checks against the schema. What stands in
#: double square brackets is ours; without a site's file nothing may.
_STAGED = ("user_config_template.yaml.j2", "user_config_schema.json")
_OURS = "[["
#: How the host reaches the outside, and where Globus and Slurm are. Never credentials.
PASSED_ON = (
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "GLOBUS_SDK_ENVIRONMENT"),
    *("GLOBUS_SDK_SERVICE_URL_AUTH", "GLOBUS_SDK_SERVICE_URL_GROUPS"),
    # Where Slurm's commands find their cluster, if not where they look by themselves.
    "SLURM_CONF",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the templates need to know; `heartbeat_period` is in seconds.

    `site_config` is None for templates without jobs.
    """

    templates: Path
    site_dir: Path
    allowed_functions: tuple[str, ...]
    display_name: str
    heartbeat_period: float
    email: str | None = None
    site_config: SiteConfig | None = None


def write(folder: Path, settings: Settings, environment: Mapping[str, str]) -> None:
    """Write an endpoint's files to `folder`; `environment` is that of the agent."""
    if os.geteuid() == 0 and not settings.email:
        raise ConfigurationError("an agent that runs as root needs an address: give --email")
    texts = {name: _rendered(name, settings, folder, environment) for name in _RENDERED}
    texts |= {name: _staged(name, settings) for name in _STAGED}
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


def _staged(name: str, settings: Settings) -> str:
    """Put the site's provider block into what the agent will render."""
    file = settings.templates / name
    text, config = _text(file), settings.site_config
    if _OURS not in text:
        return text
    if config is None:
        raise ConfigurationError(f"{file} needs a site's file: give --site-config")
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        variable_start_string=_OURS,
        variable_end_string="]]",
        # Statements and comments are all the agent's.
        block_start_string="[[%",
        block_end_string="%]]",
        comment_start_string="[[#",
        comment_end_string="#]]",
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 # YAML, not HTML; every value passes through `tojson`
    ).from_string(text)
    try:
        return template.render(_site_values(config))
    except jinja2.TemplateError as error:
        raise ConfigurationError(f"{file}: {error}") from error


def _site_values(config: SiteConfig) -> dict[str, object]:
    return {
        "blocks": {
            "hot": _block(config.hot, config),
            "on_demand": _block(config.on_demand, config),
        },
        "largest_gpus": config.limits.gpus,
        "longest_walltime_minutes": times.minutes(config.limits.walltime_s),
        "max_blocks": config.limits.jobs,
    }


def _block(block: ProviderBlock, config: SiteConfig) -> dict[str, object]:
    parsl = block.parsl_arguments()
    options = parsl.pop("scheduler_options")
    lines = [
        *(f"export {name}={shlex.quote(value)}" for name, value in config.job.environment.items()),
        parsl.pop("worker_init"),
        # The worker's commands are found there, whatever the lines before it loaded.
        f"export PATH={shlex.quote(str(config.job.python.parent))}:$PATH",
    ]
    parsl["worker_init"] = "\n".join(lines)
    return {"parsl": parsl, "options": options, "gpus": block.gpus}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
