"""Files that people upload for batches, and those that batches leave: ids, names, limits."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from resource_server.domain import errors

#: The longest name that a file may have (characters), as on a disk.
LONGEST_NAME = 255
#: For how long a file may be asked to be kept (seconds), as OpenAI has it.
SHORTEST_EXPIRY_S, LONGEST_EXPIRY_S = 3600, 2_592_000
#: The only moment from which such times are counted.
ANCHOR = "created_at"
_ID = re.compile(r"file-[0-9a-f]{32}")


class Purpose(StrEnum):
    """What a file is for."""

    #: The input of a batch: all that anybody uploads.
    BATCH = "batch"
    #: What a batch left: its answers, or its errors.
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file. `owner` is the account's id; times are seconds since the epoch.

    With `expires_at` None it is kept until it is deleted.
    """

    id: str
    owner: str
    filename: str
    purpose: Purpose
    bytes: int
    sha256: str
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that somebody is about to send.

    `expires_after_s` is for how long it is to be kept, None for as long as is usual. `declared` is
    its length (bytes) as far as the request says it.
    """

    filename: str
    purpose: Purpose = Purpose.BATCH
    expires_after_s: int | None = None
    declared: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRules:
    """What one person may store: bytes of one file, bytes and number of all, and for how long."""

    most_bytes: int = 200_000_000
    quota_bytes: int = 2_000_000_000
    quota_count: int = 1_000
    keep_s: float = 2_592_000.0


def new_file_id() -> str:
    """Return an id that nobody can guess."""
    return f"file-{secrets.token_hex(16)}"


def output_file_id(batch: str, kind: str, sha256: str) -> str:
    """Return the id of what a batch leaves: the same whoever fetches it, and however often.

    A batch that its site lost is done again, and leaves something else: that is another file.
    The id can be told from the batch's, which only its owner knows; others get 404 anyway.
    """
    return f"file-{hashlib.sha256(f'{batch}/{kind}/{sha256}'.encode()).hexdigest()[:32]}"


def is_file_id(text: str) -> bool:
    """Tell whether a text may be a file's id; nothing else ever names a file on the disk."""
    return _ID.fullmatch(text) is not None


def read_upload(
    *,
    filename: str | None,
    purpose: str | None,
    expires_after: object = None,
    declared: int | None = None,
) -> Upload:
    """Return what a request says of the file that it brings, or raise `InvalidRequest`.

    `expires_after` is an object with `anchor` and `seconds`, or None.
    """
    if purpose != Purpose.BATCH:
        raise errors.InvalidRequest(
            "purpose is 'batch': files are for batches alone.", param="purpose"
        )
    return Upload(
        filename=_named(filename),
        expires_after_s=read_expiry(expires_after, "expires_after"),
        declared=declared,
    )


def read_expiry(value: object, name: str) -> int | None:
    """Return for how many seconds something is to be kept, or raise `InvalidRequest`.

    `value` is `{"anchor": "created_at", "seconds": n}`, or None for as long as is usual.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("anchor") != ANCHOR:
        raise errors.InvalidRequest(f"{name}.anchor is '{ANCHOR}'.", param=name)
    seconds: object = value.get("seconds")
    if not isinstance(seconds, int) or not SHORTEST_EXPIRY_S <= seconds <= LONGEST_EXPIRY_S:
        raise errors.InvalidRequest(
            f"{name}.seconds is a whole number from {SHORTEST_EXPIRY_S} to {LONGEST_EXPIRY_S}.",
            param=name,
        )
    return seconds


def require_declared(upload: Upload, rules: FileRules) -> None:
    """Raise `PayloadTooLarge` if a request says itself that its file is too large."""
    if upload.declared is not None and upload.declared > rules.most_bytes:
        raise too_large(rules.most_bytes)


def too_large(most_bytes: int) -> errors.PayloadTooLarge:
    """Return the error for a file that is larger than one may be."""
    return errors.PayloadTooLarge(
        f"A file has at most {most_bytes} bytes. Split it, or name a file of the cluster by its "
        "path.",
        limit_bytes=most_bytes,
    )


def require_room(rules: FileRules, *, stored_bytes: int, stored_count: int, adding: int) -> None:
    """Raise `FileQuotaExceeded` unless somebody who has so much may store so much more."""
    if stored_count >= rules.quota_count:
        raise errors.FileQuotaExceeded(
            f"You have {stored_count} files, and {rules.quota_count} are allowed. Delete some."
        )
    if stored_bytes + adding > rules.quota_bytes:
        raise errors.FileQuotaExceeded(
            f"Your files have {stored_bytes} bytes. With this one they would have more than the "
            f"{rules.quota_bytes} that are allowed. Delete some."
        )


def no_such_file(file_id: str) -> errors.StoredFileNotFound:
    """Return the error for a file that is absent or another's: the two cases read alike."""
    shown = file_id if is_file_id(file_id) else "of this id"
    return errors.StoredFileNotFound(f"There is no file {shown}, or it is not yours.")


def _named(filename: str | None) -> str:
    """Return a file's name without folders, which some clients send along."""
    name = (filename or "").replace("\\", "/").rpartition("/")[2]
    if not name or name in {".", ".."} or len(name) > LONGEST_NAME or not name.isprintable():
        raise errors.InvalidRequest(
            f"The file needs a name of at most {LONGEST_NAME} printable characters.", param="file"
        )
    return name
