"""Finds what a body names by address, and its engine would have to open.

It is what the gateway finds in callers' requests, in the dialects of batches. There it fetches
images itself: engines are to open nothing, and 150,000 lines are too many to fetch for.
"""

from __future__ import annotations

import re

from batch.json_line import JsonObject

#: The fields of a body that hold parts with images, on whichever path.
FIELDS = (
    "messages",
    "input",
    "previous_input_messages",
    "documents",
    "items",
    "query",
    "queries",
    "data_1",
    "data_2",
    "text_1",
    "text_2",
)
#: All that engines would fetch; each holds the address, or an object with it as `url`.
KEYS = ("image_url", "audio_url", "video_url", "file_url")
_ANY_KEY = frozenset(KEYS)
_CONTAINERS = (dict, list)
#: Lines without this name nothing, unless they have escapes. (Of ways to search, the fastest.)
SIGN = re.compile(rb"_url")


def address_in(body: JsonObject) -> tuple[str, str] | None:
    """Return a field of a body and an address in it; None if whatever is named holds its data."""
    for field in FIELDS:
        if field in body and (address := _address(body[field])) is not None:
            return field, address
    return None


def _address(value: object) -> str | None:
    # A list and no recursion: it is asked of many lines.
    rest = [value]
    while rest:
        found = rest.pop()
        if isinstance(found, dict):
            if not _ANY_KEY.isdisjoint(found) and (address := _named(found)) is not None:
                return address
            rest += [part for part in found.values() if isinstance(part, _CONTAINERS)]
        elif isinstance(found, list):
            rest += [part for part in found if isinstance(part, _CONTAINERS)]
    return None


def _named(found: JsonObject) -> str | None:
    for named in map(found.get, KEYS):
        url = named.get("url") if isinstance(named, dict) else named
        if isinstance(url, str) and url[:5].lower() != "data:":
            return url
    return None
