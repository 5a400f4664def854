"""Log in to an inference service with Globus, and print the access token that the service wants.

This file and the package globus_sdk are all that is needed: copy it where you like. You log in to
Globus in your browser; this script keeps the tokens in your home directory and refreshes them. In
Python: `from inference_auth_token import get_access_token`.
"""

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, cast

try:
    import tomllib

    import globus_sdk
    import jwt  # comes with globus_sdk
    from globus_sdk import gare, login_flows, token_storage
    from globus_sdk.token_storage.validating_token_storage import IdentityMismatchError
    from globus_sdk.transport import RetryConfig
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"error: {missing}\nUse Python 3.11 or newer. Run: pip install 'globus-sdk>=4.9,<5'")

# A centre that publishes this file writes its own values here, as {"client_id": "...", ...}: its
# users then need no configuration. What a user sets wins over it.
DEPLOYMENT: dict[str, object] = {}

CONFIG = "~/.config/hotnode/auth.toml"
APP_NAME = "inference_app"

# globus_sdk alone waits 60 s, six times over: too long on a node that has no way out.
TIMEOUT_S = 20.0
RETRIES = 1
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500

Unit = Literal["seconds", "minutes", "hours"]
SECONDS_PER: dict[Unit, int] = {"seconds": 1, "minutes": 60, "hours": 3600}

SETTINGS = {
    "client_id": "public Globus client that people log in with (a UUID)",
    "gateway_id": "Globus client of the service itself (a UUID)",
    "app_name": f"keeps two logins apart; default {APP_NAME}",
    "base_url": "address of the service, used in messages only",
    "session_policies": "Globus policies that the login must meet, comma-separated",
    "session_domains": "log in from one of these domains, comma-separated",
}

ACTIONS = {
    "authenticate": "log in: prints a URL, asks for the code that the browser shows at the end",
    "get_access_token": "print the access token alone, refreshed if it has expired",
    "get_time_until_token_expiration": "print how long the access token is valid",
    "revoke_access_token": "make the stored tokens invalid and remove them",
}

HELP = """\
Each setting comes from its flag, else from the variable in brackets, else from the settings file
(TOML, as in: client_id = "..."). Several deployments: one settings file for each, and --config.

examples:
  python inference_auth_token.py authenticate
  python inference_auth_token.py authenticate --force
  token=$(python inference_auth_token.py get_access_token)
  python inference_auth_token.py get_time_until_token_expiration --units hours

exit codes:
  0 done   1 globus_sdk is missing, or a fault of this script   2 wrong flag or setting
  3 not logged in   4 another identity   5 Globus is not available
  6 tokens file cannot be used   130 interrupted
"""


class AuthError(Exception):
    """What the person can put right; `run` is the command that helps, if one does."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, run: str | None = None) -> None:
        super().__init__(f"{problem}\nRun: {run}" if run else problem)


class NotConfigured(AuthError):
    """A setting or a flag is missing or wrong."""

    exit_code = 2


class NotLoggedIn(AuthError):
    """No login is stored, or it has ended, or a new one did not complete."""

    exit_code = 3


class IdentityChanged(AuthError):
    """The person logged in as somebody else than the stored tokens belong to."""

    exit_code = 4


class GlobusUnavailable(AuthError):
    """Globus Auth did not answer, or answered that it cannot."""

    exit_code = 5


class TokensUnusable(AuthError):
    """The tokens file cannot be read or written."""

    exit_code = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which deployment to log in to (SETTINGS says what is what), and the flags that chose it."""

    client_id: str
    gateway_id: str
    app_name: str = APP_NAME
    base_url: str = ""
    session_policies: tuple[str, ...] = ()
    session_domains: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def command(self, *action: str) -> str:
        """Return the command line that does `action` for the same deployment."""
        script = Path(__file__)
        shown = script.name if script.parent == Path.cwd() else str(script)
        return shlex.join([_python(), shown, *action, *self.flags])


def _python() -> str:
    """Return what starts this Python, which has globus_sdk, in the person's shell."""
    running = Path(sys.executable)
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found).parent == running.parent and running.samefile(found):
            return name
    return sys.executable or "python"


def load_settings(flags: Mapping[str, str | None] | None = None) -> Settings:
    """Take each setting from the flags, else the environment, else the file, else this script."""
    given = _not_empty(flags or {})
    variables = {name: os.environ.get(_variable(name)) for name in (*SETTINGS, "config")}
    outer = _not_empty(variables) | given
    values = DEPLOYMENT | _read_config(outer.pop("config", None)) | outer
    if missing := [name for name in ("client_id", "gateway_id") if not values.get(name)]:
        raise _not_set(missing)
    return Settings(
        client_id=_id(values, "client_id"),
        gateway_id=_id(values, "gateway_id"),
        app_name=str(values.get("app_name", APP_NAME)),
        base_url=str(values.get("base_url", "")).rstrip("/"),
        session_policies=_words(values.get("session_policies")),
        session_domains=_words(values.get("session_domains")),
        flags=tuple(f"{_flag(name)}={value}" for name, value in given.items()),
    )


def _not_empty(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _id(values: Mapping[str, object], name: str) -> str:
    value = str(values[name])
    try:
        uuid.UUID(value)
    except ValueError as error:
        raise NotConfigured(
            f"{name} is {value!r}, and must be a UUID as 01234567-89ab-cdef-0123-456789abcdef. "
            "Your centre tells you the value."
        ) from error
    return value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _variable(name: str) -> str:
    return "HOTNODE_AUTH_" + name.upper()


def _words(value: object) -> tuple[str, ...]:
    words = value if isinstance(value, list) else str(value or "").split(",")
    return tuple(word.strip() for word in map(str, words) if word.strip())


def _read_config(named: str | None) -> dict[str, object]:
    path = Path(named or CONFIG).expanduser()
    if not named and not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotConfigured(f"Cannot read the config file {path}: {error}") from error
    if unknown := values.keys() - SETTINGS:
        known = ", ".join(SETTINGS)
        raise NotConfigured(f"{path}: unknown {', '.join(sorted(unknown))}; known are {known}.")
    return values


def _not_set(missing: Sequence[str]) -> AuthError:
    return NotConfigured(
        f"Not set: {', '.join(missing)}. Your centre tells you the values. Do one of these:\n"
        f"  - set {' and '.join(_variable(name) for name in missing)} in the environment\n"
        f"  - write {' and '.join(missing)} to {CONFIG}, or to the file that "
        f"{_variable('config')} names\n"
        "  - if you call inference_auth_token.py yourself: give "
        f"{' '.join(f'{_flag(name)} ID' for name in missing)}, or --config FILE",
    )


class TokensFile(token_storage.JSONTokenStorage):
    """globus_sdk's JSON file, replaced in one step: a reader in another job never sees half of it.

    The new file can be read by its owner only, whoever could read the old one.
    """

    # typing.override needs Python 3.12, and typing_extensions would be one more package.
    def store_token_data_by_resource_server(  # type: ignore[explicit-override]
        self, token_data_by_resource_server: Mapping[str, token_storage.TokenStorageData]
    ) -> None:
        """Store tokens; those of other servers stay."""
        with self._replaced():
            super().store_token_data_by_resource_server(token_data_by_resource_server)

    def remove_token_data(self, resource_server: str) -> bool:  # type: ignore[explicit-override]
        """Remove a server's tokens; say whether there were any."""
        with self._replaced():
            return super().remove_token_data(resource_server)

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Have the body write beside the file, then put the new one in its place."""
        target = Path(self.filepath)
        with tempfile.TemporaryDirectory(dir=target.parent) as beside, self.user_only_umask():
            self.filepath = str(Path(beside) / target.name)
            try:
                if target.exists():
                    shutil.copyfile(target, self.filepath)
                yield
                Path(self.filepath).replace(target)
            finally:
                self.filepath = str(target)


class Prompt(login_flows.CommandLineLoginFlowManager):
    """globus_sdk's question for the code, asked again if nothing was typed."""

    def prompt_for_code(self) -> str:  # type: ignore[explicit-override]
        """Return the code."""
        while not (code := super().prompt_for_code()):
            print("No code was typed. The browser shows it after the login at the address above.")
        return code


def tokens_file(settings: Settings) -> TokensFile:
    """Return the file with this deployment's tokens, where globus_sdk keeps it."""
    config = globus_sdk.GlobusAppConfig()
    try:
        stored = TokensFile.for_globus_app(
            settings.client_id, settings.app_name, config, namespace="DEFAULT"
        )
    except ValueError as error:  # globus_sdk's answer to a bad app name, and to an OSError
        raise TokensUnusable(" ".join(str(e) for e in (error, error.__cause__) if e)) from error
    return cast("TokensFile", stored)


@contextmanager
def _user_app(
    settings: Settings, refusal: str, stored: token_storage.TokenStorage | None = None
) -> Iterator[globus_sdk.UserApp]:
    """Open globus_sdk's app on the stored tokens; `refusal` is what a plain no of Globus means."""
    scope = f"https://auth.globus.org/scopes/{settings.gateway_id}/action_all"
    config = globus_sdk.GlobusAppConfig(
        token_storage=stored or _readable(settings),
        login_flow_manager=Prompt,
        request_refresh_tokens=True,
        token_validation_error_handler=None,  # the default one starts a login
    )
    with (
        _login_client(settings) as client,
        _explained(settings, client.base_url, refusal),
        globus_sdk.UserApp(
            settings.app_name,
            login_client=client,
            scope_requirements={settings.gateway_id: scope},
            config=config,
        ) as app,
    ):
        yield app


def _readable(settings: Settings) -> TokensFile:
    stored = tokens_file(settings)
    try:
        stored.get_token_data_by_resource_server()
    except (OSError, ValueError) as error:
        again = settings.command("authenticate", "--force")
        raise TokensUnusable(f"Cannot read {stored.filepath}: {error}", run=again) from error
    return stored


def _login_client(settings: Settings) -> globus_sdk.NativeAppAuthClient:
    retries = RetryConfig(max_retries=RETRIES)
    try:
        client = globus_sdk.NativeAppAuthClient(settings.client_id, retry_config=retries)
    except ValueError as error:
        raise NotConfigured(f"A variable GLOBUS_SDK_* is wrong: {error}") from error
    if "GLOBUS_SDK_HTTP_TIMEOUT" not in os.environ:
        client.transport.http_timeout = TIMEOUT_S
    return client


@contextmanager
def _explained(settings: Settings, address: str, refusal: str) -> Iterator[None]:
    """Turn what globus_sdk raises into an AuthError."""
    login = settings.command("authenticate")
    try:
        yield
    except IdentityMismatchError as error:
        raise _identity_changed(error, settings) from error
    except token_storage.TokenValidationError as error:
        raise NotLoggedIn(f"You are not logged in ({error}).", run=login) from error
    except login_flows.CommandLineLoginFlowEOFError as error:
        raise NotLoggedIn("No code was entered; that takes a terminal.", run=login) from error
    except jwt.InvalidTokenError as error:
        problem = (
            f"The answer of Globus is not valid here ({error}). Is this machine's clock right?"
        )
        raise NotLoggedIn(problem, run=login) from error
    except globus_sdk.NetworkError as error:
        kind = type(error.underlying_exception).__name__
        raise GlobusUnavailable(f"No answer from Globus at {address} ({kind}).") from error
    except globus_sdk.GlobusAPIError as error:
        raise _answered(error, settings, refusal) from error
    except OSError as error:
        raise TokensUnusable(f"Cannot write the tokens: {error}") from error


def _identity_changed(error: IdentityMismatchError, settings: Settings) -> AuthError:
    return IdentityChanged(
        "IdentityMismatchError: Detected a change in identity. The stored tokens belong to "
        f"{error.stored_id}, this login to {error.new_id}; nothing was changed. To stay the "
        "first, log out of Globus in the browser and log in again. To become the second, delete "
        f"{tokens_file(settings).filepath} and log in again; the command below does both.",
        run=settings.command("authenticate", "--force"),
    )


def _answered(error: globus_sdk.GlobusAPIError, settings: Settings, refusal: str) -> AuthError:
    body = error.raw_json if isinstance(error.raw_json, dict) else {}
    reason = body.get("error", error.http_reason)
    said = f"Globus answered {error.http_status} {reason}"
    if reason == "invalid_client":
        return NotConfigured(f"{said}: it does not know the client_id {settings.client_id}.")
    if error.http_status >= SERVER_ERROR or error.http_status == TOO_MANY_REQUESTS:
        return GlobusUnavailable(f"{said}. Try again later.")
    return NotLoggedIn(f"{refusal} ({said}).", run=settings.command("authenticate"))


def authenticate(settings: Settings | None = None, *, force: bool = False) -> None:
    """Log in: print a URL, read the code, store the tokens.

    With `force`, Globus asks for the credentials even if the browser remembers them, and what
    was stored before is forgotten once the login has succeeded.
    """
    settings = settings or load_settings()
    parameters = gare.GlobusAuthorizationParameters(
        session_required_policies=list(settings.session_policies) or None,
        session_required_single_domain=list(settings.session_domains) or None,
        prompt="login" if force else None,
    )
    refusal = "Globus did not accept the code: it is good for one use, within minutes"
    fresh = token_storage.MemoryTokenStorage() if force else None
    with _user_app(settings, refusal, fresh) as app:
        app.login(auth_params=parameters, force=True)
        if fresh:
            stored = tokens_file(settings)
            Path(stored.filepath).unlink(missing_ok=True)
            stored.store_token_data_by_resource_server(fresh.get_token_data_by_resource_server())


def get_access_token(settings: Settings | None = None) -> str:
    """Return a valid access token, refreshed if need be; never start a login."""
    settings = settings or load_settings()
    with _user_app(settings, "Your login has expired or was revoked") as app:
        app.get_authorizer(settings.gateway_id).get_authorization_header()  # refreshes
        return app.token_storage.get_token_data(settings.gateway_id).access_token


def get_time_until_token_expiration(
    units: Unit = "seconds", settings: Settings | None = None
) -> float:
    """Return how long the stored access token is still valid; below zero, it has expired."""
    settings = settings or load_settings()
    with _user_app(settings, "Your login cannot be read") as app:
        expires = app.token_storage.get_token_data(settings.gateway_id).expires_at_seconds
    return round((expires - time.time()) / SECONDS_PER[units], 2)


def revoke_access_token(settings: Settings | None = None) -> bool:
    """Make the stored tokens invalid at Globus and remove them; say whether there were any."""
    settings = settings or load_settings()
    stored = _readable(settings)
    there_were = bool(stored.get_token_data_by_resource_server())
    with _user_app(settings, "Globus did not revoke the tokens", stored) as app:
        app.logout()
    return there_were


def _parser() -> argparse.ArgumentParser:
    actions = "\n".join(f"  {name:<32} {meaning}" for name, meaning in ACTIONS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\nactions:\n{actions}",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION")
    parser.add_argument("-f", "--force", action="store_true", help="authenticate from scratch")
    parser.add_argument("--units", choices=SECONDS_PER, default="seconds", help="of the time left")
    parser.add_argument(
        "--config", metavar="FILE", help=f"default {CONFIG} [{_variable('config')}]"
    )
    for name, meaning in SETTINGS.items():
        parser.add_argument(_flag(name), metavar="VALUE", help=f"{meaning} [{_variable(name)}]")
    return parser


def _perform(action: str, settings: Settings, *, force: bool, units: Unit) -> None:
    if force and action != "authenticate":
        again = settings.command("authenticate", "--force")
        raise NotConfigured(f"--force is not for {action}.", run=again)
    if action == "authenticate":
        authenticate(settings, force=force)
        print(_welcome(settings))
    elif action == "get_access_token":
        print(get_access_token(settings))
    elif action == "get_time_until_token_expiration":
        print(get_time_until_token_expiration(units, settings))
    elif revoke_access_token(settings):
        print("Revoked and removed. A service may accept them for up to ten minutes: it caches.")
    else:
        print("No tokens are stored.")


def _welcome(settings: Settings) -> str:
    token = settings.command("get_access_token")
    example = f'curl -H "Authorization: Bearer $({token})" {settings.base_url}/list-endpoints'
    return (
        f"Logged in. The tokens are in {tokens_file(settings).filepath}\n"
        f"Next: {example if settings.base_url else token}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one action; return the exit code."""
    flags = vars(_parser().parse_args(arguments))
    action, force, units = (flags.pop(name) for name in ("action", "force", "units"))
    try:
        _perform(action, load_settings(flags), force=force, units=units)
    except AuthError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
