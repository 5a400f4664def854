"""Finds the images in a body that are named by address, in each of the three dialects.

Chat completions have `image_url: {url}` (also a plain string), responses `image_url` as a string,
and Anthropic's messages `source: {type: url, url}`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

#: The fields of a body that hold parts with images, on whichever route.
FIELDS = ("messages", "input", "documents", "query", "queries", "data_1", "data_2")
#: Engines know these too, and would fetch them.
OTHER_KEYS = ("audio_url", "video_url", "file_url")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its kind and its bytes."""

    media_type: str
    content: bytes

    @property
    def base64(self) -> str:
        """The bytes as text."""
        return b64encode(self.content).decode("ascii")

    @property
    def data_url(self) -> str:
        """The image as an address that holds it."""
        return f"data:{self.media_type};base64,{self.base64}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a body names something by address.

    `path` leads there, as `messages[0].content[1].image_url.url`. `put` sets an image instead;
    without it what is named is no image.
    """

    path: str
    url: str
    put: Callable[[Image], None] | None = None


JsonObject: TypeAlias = dict[str, Any]


def places_in(field: str, value: object) -> Iterator[Place]:
    """Yield the places in one field of a body, but for addresses that hold their data."""
    # A list and no recursion: a body may be nested as deep as the decoder can go.
    rest: list[tuple[str, object]] = [(field, value)]
    while rest:
        path, found = rest.pop()
        if isinstance(found, dict):
            yield from (place for place in _named(path, found) if not _holds_data(place.url))
            rest += [(f"{path}.{name}", part) for name, part in _parts(found)]
        elif isinstance(found, list):
            rest += [(f"{path}[{at}]", found[at]) for at in reversed(range(len(found)))]


def _parts(found: JsonObject) -> Iterator[tuple[str, object]]:
    """Yield what may hold further parts: what a model gave to a tool is the tool's business."""
    is_tool_use = found.get("type") in ("tool_use", "server_tool_use")
    for name, part in found.items():
        if isinstance(part, dict | list) and not (is_tool_use and name == "input"):
            yield name, part


def _named(path: str, found: JsonObject) -> Iterator[Place]:
    """Yield what one object names itself."""
    yield from _at_key(path, found, "image_url", is_image=True)
    for key in OTHER_KEYS:
        yield from _at_key(path, found, key, is_image=False)
    source = found.get("source")
    if isinstance(source, dict) and isinstance(url := source.get("url"), str):
        put = _put_source(found) if found.get("type") == "image" else None
        yield Place(path=f"{path}.source.url", url=url, put=put)


def _at_key(path: str, found: JsonObject, key: str, *, is_image: bool) -> Iterator[Place]:
    named = found.get(key)
    if isinstance(named, str):
        put = _put_data_url(found, key) if is_image else None
        yield Place(path=f"{path}.{key}", url=named, put=put)
    elif isinstance(named, dict) and isinstance(url := named.get("url"), str):
        put = _put_data_url(named, "url") if is_image else None
        yield Place(path=f"{path}.{key}.url", url=url, put=put)


def _put_data_url(holder: JsonObject, key: str) -> Callable[[Image], None]:
    def put(image: Image) -> None:
        holder[key] = image.data_url

    return put


def _put_source(holder: JsonObject) -> Callable[[Image], None]:
    def put(image: Image) -> None:
        holder["source"] = {
            "type": "base64",
            "media_type": image.media_type,
            "data": image.base64,
        }

    return put


def _holds_data(url: str) -> bool:
    return url[:5].lower() == "data:"
