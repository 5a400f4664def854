"""How long a relay waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from compute_functions.contract import frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Every wait of a relay (seconds); tests shorten some."""

    #: For a connection to a hub, with proxy and TLS, and then for its ACCEPT.
    dial_s: float = 15.0
    ping_every_s: float = frames.PING_EVERY_S
    resume_within_s: float = frames.RESUME_WITHIN_S
    #: After a link was cut the relay dials at once, then after this, doubled up to the longest.
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0
    #: After a refusal that only an operator can mend.
    refused_pause_s: float = 120.0
    #: A link that held so long was a good one: the pauses begin anew.
    steady_s: float = 5.0
    #: For a hub's half of a WebSocket's end.
    close_s: float = 2.0
    #: To tell the hubs how streams ended whose engine is gone.
    last_words_s: float = 1.0
    load_every_s: float = 2.0
    #: After a fault of the relay's own, before the part that failed begins again.
    restart_pause_s: float = 5.0
