"""The secrets of confidential clients, and how a client proves who it is."""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request

from local_globus.auth.errors import InvalidClient, Unauthenticated
from local_globus.directory import Directory
from local_globus.seed import Client


class ClientSecrets:
    """One file per confidential client, `<folder>/<name>.json`, readable by its owner alone."""

    def __init__(self, folder: Path, directory: Directory) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._secrets = {
            client.id: _secret(folder / f"{client.name}.json", client)
            for client in directory.clients
            if client.kind == "confidential"
        }

    def authenticate(self, request: Request, form: Mapping[str, str]) -> Client:
        """Return the client that makes a call, by HTTP Basic or by the fields of its form."""
        client_id, secret = basic_credentials(request) or (
            form.get("client_id", ""),
            form.get("client_secret"),
        )
        client = self._directory.client(client_id)
        if client is None:
            raise InvalidClient
        if client.kind == "public" and not secret:
            return client
        expected = self._secrets.get(client.id)
        if expected is None or not secrets.compare_digest(expected, secret or ""):
            raise InvalidClient
        return client

    def authenticate_confidential(self, request: Request, form: Mapping[str, str]) -> Client:
        """Return the client that makes a call which public clients may not make."""
        try:
            client = self.authenticate(request, form)
        except InvalidClient as error:
            raise Unauthenticated from error
        if client.kind != "confidential":
            raise Unauthenticated
        return client


def basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return the user and password of an HTTP Basic header, if there is one."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidClient from error
    return user, password


def _secret(path: Path, client: Client) -> str:
    if path.exists():
        stored: str = json.loads(path.read_text("utf-8"))["client_secret"]
        return stored
    secret = secrets.token_urlsafe(33)
    content = {"name": client.name, "client_id": client.id, "client_secret": secret}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    return secret
