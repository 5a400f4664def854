"""Which events carry something that an engine has made, known by their bytes.

Each such event holds a token at least, so that their number is less than what an answer cost, and
close to it. It counts where the engine does not say, or was not asked to the end.
"""

from __future__ import annotations

import re

from resource_server.domain.inference import Usage

#: Within a JSON string every quote is escaped: nothing that a model says looks like a member.
_NOT_EMPTY = re.compile(
    rb'"(?:arguments|content|delta|partial_json|reasoning(?:_content)?|refusal|text|thinking)"'
    rb'\s*:\s*"(?!")'
)


def has_content(event: bytes) -> bool:
    """Tell whether an event carries some text, or a piece of a tool call."""
    return _NOT_EMPTY.search(event) is not None


def at_least(events: int) -> Usage | None:
    """Return what so many events with content cost at the least; None if there are none."""
    return Usage(output_tokens=events) if events else None
