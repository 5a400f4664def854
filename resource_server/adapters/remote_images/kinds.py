"""What kind of image some bytes are, by the bytes themselves."""

from __future__ import annotations

#: Enough of a file to tell what it is (bytes).
HEAD_BYTES = 12


def media_type_of(content: bytes) -> str | None:
    """Return the media type of a PNG, JPEG, WebP or GIF; None for anything else."""
    head = content[:HEAD_BYTES]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "image/webp"
    return None
