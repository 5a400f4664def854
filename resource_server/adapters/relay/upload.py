"""One request on its way out: its frame and its body, a piece at a time, again after a cut."""

from __future__ import annotations

from compute_functions.contract.frames import (
    HEADER_BYTES,
    MAX_DATA,
    MAX_MESSAGE,
    Frame,
    FrameKind,
    encoded,
)


class Upload:
    """What is still to be sent of one request. `left` tells whether any of it may have left.

    `all_left` tells whether all of it may have, without which no relay asks its engine. `credit` is
    how much of the answer may come, `size` how long the body is (bytes).
    """

    __slots__ = (
        "_announced",
        "_at",
        "_body",
        "_number",
        "_request",
        "all_left",
        "credit",
        "left",
        "size",
    )

    def __init__(self, number: int, request: bytes, body: bytes, *, credit: int) -> None:
        self._number = number
        self._request = request
        self._body = body
        self._at = 0
        self._announced = False
        self.credit = credit
        self.left = False
        self.all_left = False
        self.size = len(body)

    @property
    def pending(self) -> bool:
        """Whether there is anything left to send."""
        return not self._announced or self._at < len(self._body)

    def take(self, room: int) -> bytes:
        """Return the next frames, of `room` bytes at the most; nothing if not one fits."""
        if not self._announced:
            frame = encoded(Frame(FrameKind.REQUEST, self._number, self.credit, self._request))
            # A request alone may be larger than the room that others left, and then waits.
            if len(frame) > room:
                return b""
            self._announced = self.left = True
            frame += self._data(room - len(frame))
        else:
            frame = self._data(room)
        self.all_left = self.all_left or not self.pending
        return frame

    def _data(self, room: int) -> bytes:
        size = min(len(self._body) - self._at, MAX_DATA, room - HEADER_BYTES)
        if size <= 0:
            return b""
        piece = self._body[self._at : self._at + size]
        frame = encoded(Frame(FrameKind.DATA, self._number, self._at, piece))
        self._at += size
        return frame

    def resume(self, received: int | None) -> None:
        """Go on after so many bytes of the body; from the beginning if the relay knows nothing."""
        self._announced = received is not None
        self._at = received or 0

    def stop(self) -> None:
        """Send no more, and let the body go."""
        self._announced, self._at, self._body = True, 0, b""


#: The longest REQUEST that there is room for in a message.
MOST_REQUEST = MAX_MESSAGE - HEADER_BYTES
