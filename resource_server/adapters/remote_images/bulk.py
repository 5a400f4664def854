"""How many values a field's JSON holds, told without making them."""

from __future__ import annotations

from resource_server.domain import errors

#: A body with more values is not searched for images: while they are made and looked through, a
#: process serves nobody else. A long conversation has some thousands.
MAX_VALUES = 50_000
#: A name and a text, each between two quotes.
QUOTES_OF_A_VALUE = 4
#: Each value follows one of these, or is the first of all.
BEFORE_A_VALUE = b"{[,"


def require_searchable(raw: bytes, field: str) -> None:
    """Raise `InvalidRequest` if a field holds too many values to be searched for images."""
    # Most texts have fewer of these characters, so that it need not be known which are in texts.
    if _count(raw) > MAX_VALUES and _count_outside_texts(raw) > MAX_VALUES:
        raise errors.InvalidRequest(
            f"'{field}' holds more than {MAX_VALUES} values, too many to look for images in.",
            param=field,
        )


def _count(raw: bytes) -> int:
    # As fast whether there are many or few, unlike `bytes.count`.
    return len(raw) - len(raw.translate(None, BEFORE_A_VALUE))


def _count_outside_texts(raw: bytes) -> int:
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A text that is cut off where the splitting ends does no harm: the count is over the limit
    # whatever follows.
    if plain.count(b'"') > QUOTES_OF_A_VALUE * (MAX_VALUES + 1):
        return MAX_VALUES + 1
    return _count(b"".join(plain.split(b'"')[::2]))
