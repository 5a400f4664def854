"""How the fields of batches' values are read, and how large they may be."""

from __future__ import annotations

import re

from compute_functions.contract import fields
from compute_functions.contract.errors import ContractError
from compute_functions.contract.fields import JsonObject

#: A batch's id names folders: `batch_` and 32 hex digits, or a UUID.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
#: It is put into an environment, and into JSON.
_SALT = re.compile(r"[0-9A-Za-z_-]{1,128}")
#: A site takes part in no more batches than this at a time.
MOST_BATCHES = 2_000
#: So many mistakes of an input file are listed; all are counted.
MOST_ERRORS = 100
#: The longest path, and the longest word about a failure (characters).
MOST_PATH = 4_096
MOST_REASON = 2_000
#: No file of a batch is larger (bytes).
MOST_FILE = 1 << 40
MOST_LINES = 1_000_000
#: So many fields may be reserved at most.
MOST_RESERVED = 1_000
#: So many paths an order names at most.
MOST_ENDPOINTS = 100


def batch_id(values: JsonObject) -> str:
    """Return the field `batch`, which may name a folder, or raise `ContractError`."""
    return checked_id(fields.text(values, "batch"))


def checked_id(value: str) -> str:
    """Return an id that may name a folder."""
    if _ID.fullmatch(value) is None:
        raise ContractError(f"{fields.quoted(value)} is no batch's id")
    return value


def text_of(value: object) -> str:
    """Return an item of a list that is text."""
    return fields.text({"an item": value}, "an item")


def optional_text(values: JsonObject, name: str) -> str | None:
    """Return text, or None where it is null."""
    return None if fields.present(values, name) is None else fields.text(values, name)


def salt(values: JsonObject) -> str | None:
    """Return a cache's salt; None where it is null, or left out by who was not updated yet."""
    value = optional_text({"cache_salt": None} | values, "cache_salt")
    if value is not None and _SALT.fullmatch(value) is None:
        raise ContractError("cache_salt is none")
    return value


def absolute_path(values: JsonObject, name: str) -> str | None:
    """Return an absolute path or None. Whether it may be used is for the site to say."""
    if fields.present(values, name) is None:
        return None
    return _path(fields.text(values, name), name)


def endpoints(values: JsonObject) -> tuple[str, ...]:
    """Return the paths that lines may name; none where who was not updated yet names none."""
    found = fields.items({"endpoints": []} | values, "endpoints", most=MOST_ENDPOINTS)
    return tuple(_path(text_of(one), "endpoints") for one in found)


def _path(path: str, name: str) -> str:
    if not path.startswith("/") or "\0" in path or len(path) > MOST_PATH:
        raise ContractError(f"{name} is not an absolute path")
    return path


def file_name(values: JsonObject) -> str:
    """Return the input's name without a folder."""
    name = fields.text(values, "input_name")
    if not name or len(name) > 255 or "/" in name or not name.isprintable() or name in {".", ".."}:  # noqa: PLR2004 - as long as a file's name may be
        raise ContractError("input_name is no file's name")
    return name


def sha256(value: str) -> str:
    """Return the hex digits of a SHA-256."""
    if re.fullmatch(r"[0-9a-f]{64}", value) is None:
        raise ContractError("sha256 is not one")
    return value
