"""Finds the images in a body that are named by address, in each of the three dialects.

Chat completions have `image_url: {url}` (also a plain string), responses `image_url` as a string,
and Anthropic's messages `source: {type: url, url}`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeGuard

#: The fields of a body that hold parts with images, on whichever route.
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
#: A longer path is cut: names of fields are the caller's and may be of any length.
MAX_PATH_CHARS = 250
#: Engines know these too, and would fetch them.
OTHER_KEYS = ("audio_url", "video_url", "file_url")
KEYS = frozenset({"image_url", "source", *OTHER_KEYS})


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


class Trail(NamedTuple):
    """The way to a value: a field or an index, and the way before it."""

    step: str | int
    before: Trail | None = None

    @property
    def field(self) -> str:
        """The field of the body in which it begins."""
        at = self
        while at.before is not None:
            at = at.before
        return str(at.step)

    @property
    def text(self) -> str:
        """The way as `messages[0].content[1]`."""
        steps: list[str] = []
        at: Trail | None = self
        while at is not None:
            named = f".{at.step}" if at.before else str(at.step)
            steps.append(f"[{at.step}]" if isinstance(at.step, int) else named)
            at = at.before
        text = "".join(reversed(steps))
        return text if len(text) <= MAX_PATH_CHARS else f"{text[:MAX_PATH_CHARS]}..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a body names something by address.

    `put` sets an image instead; without it what is named is no image.
    """

    trail: Trail
    url: str
    put: Callable[[Image], None] | None = None

    @property
    def path(self) -> str:
        """What leads there, as `messages[0].content[1].image_url.url`."""
        return self.trail.text


JsonObject: TypeAlias = dict[str, Any]


def places_in(field: str, value: object) -> Iterator[Place]:
    """Yield the places in one field of a body, but for addresses that hold their data."""
    # A list and no recursion: a body may be nested as deep as the decoder can go. On it is only
    # what may hold something, with no path yet: a path as long as the body is deep, for each of a
    # million numbers, is what nobody can wait for.
    rest: list[tuple[Trail, JsonObject | list[Any]]] = []
    if isinstance(value, dict | list):
        rest.append((Trail(field), value))
    while rest:
        trail, found = rest.pop()
        if isinstance(found, dict):
            if not KEYS.isdisjoint(found):
                yield from _named(trail, found)
            rest += [(Trail(name, trail), part) for name, part in _parts(found)]
        else:
            rest += [
                (Trail(at, trail), found[at])
                for at in reversed(range(len(found)))
                if isinstance(found[at], dict | list)
            ]


def _parts(found: JsonObject) -> Iterator[tuple[str, JsonObject | list[Any]]]:
    """Yield what may hold further parts: what a model gave to a tool is the tool's business."""
    is_tool_use = found.get("type") in ("tool_use", "server_tool_use")
    for name, part in found.items():
        if isinstance(part, dict | list) and not (is_tool_use and name == "input"):
            yield name, part


def _named(trail: Trail, found: JsonObject) -> Iterator[Place]:
    """Yield what one object names itself."""
    for key in ("image_url", *OTHER_KEYS):
        if key in found:
            yield from _at_key(trail, found, key)
    source = found.get("source")
    if isinstance(source, dict) and _is_address(url := source.get("url")):
        put = _put_source(found) if found.get("type") == "image" else None
        yield Place(trail=Trail("url", Trail("source", trail)), url=url, put=put)


def _at_key(trail: Trail, found: JsonObject, key: str) -> Iterator[Place]:
    named, trail, is_image = found[key], Trail(key, trail), key == "image_url"
    if isinstance(named, dict):
        if _is_address(url := named.get("url")):
            put = _put_data_url(named, "url") if is_image else None
            yield Place(trail=Trail("url", trail), url=url, put=put)
    elif _is_address(named):
        put = _put_data_url(found, key) if is_image else None
        yield Place(trail=trail, url=named, put=put)


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


def _is_address(named: object) -> TypeGuard[str]:
    """Tell whether something is a text, and does not hold its data itself."""
    return isinstance(named, str) and named[:5].lower() != "data:"
