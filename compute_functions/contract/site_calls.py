"""Calls of a site's functions over the site link: the call, its answer, and who knows of any.

The values that go in and come out are those of the functions' Globus Compute tasks. A call whose
answer is lost is made again: only functions that may be called twice are called in this way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from compute_functions.contract import fields
from compute_functions.contract.fields import JsonObject

#: So many calls of one hub are under way at a site.
MOST_CALLS = 4
#: A hub waits so long for an answer (seconds), and an agent gives one within the shorter time,
#: whatever the site's disk does.
CALL_S = 30.0
ANSWER_S = 25.0
#: A site offers no more functions than this.
MOST_FUNCTIONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The names of the functions that an agent calls for a hub; older agents say nothing."""

    functions: tuple[str, ...]

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {"functions": list(self.functions)}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "an offer")
        names = fields.items(values, "functions", most=MOST_FUNCTIONS)
        return cls(functions=tuple(fields.text({"a name": name}, "a name") for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCall:
    """The call of one function with one value, under an id that its hub made up."""

    id: str
    function: str
    wire: JsonObject

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        # Not with `asdict`, which would copy what is called with.
        return {"id": self.id, "function": self.function, "wire": self.wire}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "a call")
        return cls(
            id=fields.text(values, "id"),
            function=fields.text(values, "function"),
            wire=fields.json_object(values.get("wire"), "what a function is called with"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswer:
    """What the function gave for the call of this id; a `SiteFailure` is such a value too."""

    id: str
    wire: JsonObject

    def to_wire(self) -> JsonObject:
        """Return a JSON-ready dict."""
        return {"id": self.id, "wire": self.wire}

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """Read what `to_wire` wrote."""
        values = fields.json_object(wire, "an answer")
        return cls(
            id=fields.text(values, "id"),
            wire=fields.json_object(values.get("wire"), "what a function gave"),
        )
