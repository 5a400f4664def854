"""What answers cost: tokens, as the engine counted them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

#: Tokens of the input, cached ones of these, tokens of the output, reasoning ones of those.
Tokens = tuple[int, int, int, int]

#: More tokens than any answer can have: a larger number is no count.
_MOST = 1 << 40
_CHAT = ("prompt_tokens", "completion_tokens")
_RESPONSES = ("input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Tokens. Cached ones are among the input's, reasoning ones among the output's."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return the tokens of input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def tokens(self) -> Tokens:
        """Return all four numbers, as a record of the journal has them."""
        return self.input_tokens, self.cached_tokens, self.output_tokens, self.reasoning_tokens

    @classmethod
    def of(cls, tokens: Iterable[int]) -> Self:
        """Read what `tokens` gave."""
        given, cached, made, reasoning = tokens
        return cls(
            input_tokens=given,
            cached_tokens=cached,
            output_tokens=made,
            reasoning_tokens=reasoning,
        )

    def to_wire(self) -> dict[str, int]:
        """Return a JSON-ready dict."""
        return asdict(self)

    @classmethod
    def from_wire(cls, values: object) -> Self:
        """Read what `to_wire` wrote; what is no count is 0."""
        if not isinstance(values, Mapping):
            return cls()
        return cls(**{field.name: _count(values.get(field.name)) for field in fields(cls)})


def of_answer(body: Mapping[str, object]) -> Use:
    """Return what an answer says of its use; chat and responses have different names for it.

    One that ranks texts may tell no more than the total: that is of its input.
    """
    usage = body.get("usage")
    # Not `Mapping`: this is asked of every answer, and a dict is all that JSON has.
    if not isinstance(usage, dict):
        return Use()
    into, out = _CHAT if not usage.keys().isdisjoint(_CHAT) else _RESPONSES
    made = _count(usage.get(out))
    return Use(
        input_tokens=_count(usage.get(into)) or max(0, _count(usage.get("total_tokens")) - made),
        output_tokens=made,
        cached_tokens=_detail(usage.get(f"{into}_details"), "cached_tokens"),
        reasoning_tokens=_detail(usage.get(f"{out}_details"), "reasoning_tokens"),
    )


def _detail(details: object, name: str) -> int:
    return _count(details.get(name)) if isinstance(details, dict) else 0


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < _MOST else 0
