"""What keeps the agent from its work, by topic: told while it lasts, logged when it changes."""

from __future__ import annotations

import logging

log = logging.getLogger("hotnode.site_agent")

#: A gateway is told so much (characters).
_MOST_TOLD = 1_000


class Troubles:
    """Holds at most one trouble of each topic. What goes on is not worth another line."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    @property
    def text(self) -> str:
        """All of them, for the gateway's operators; nothing if all is well."""
        return "; ".join(self._texts.values())[:_MOST_TOLD]

    def note(self, topic: str, text: str, *, cause: BaseException | None = None) -> None:
        """Take how it stands with a topic; an empty text is that all is well."""
        before = self._texts.pop(topic, "")
        if text:
            self._texts[topic] = text
        if text == before:
            return
        if text:
            log.error("trouble topic=%s text=%s", topic, text, exc_info=cause)
        else:
            log.info("trouble_over topic=%s", topic)
