"""How much of each limit is left, in the headers that OpenAI's clients read."""

from __future__ import annotations

import math
from collections.abc import Iterable

from resource_server.domain.limits import Measure, Standing


def rate_limit_headers(standings: Iterable[Standing]) -> dict[str, str]:
    """Return the headers for the limits that a request met.

    Of several limits on one thing they tell the one of which the least is left. OpenAI has no
    headers for concurrent requests; ours are named alike.
    """
    tightest: dict[Measure, Standing] = {}
    for standing in standings:
        known = tightest.get(standing.measure)
        if known is None or standing.remaining < known.remaining:
            tightest[standing.measure] = standing
    headers: dict[str, str] = {}
    for measure, standing in tightest.items():
        headers[f"x-ratelimit-limit-{measure}"] = str(standing.limit)
        headers[f"x-ratelimit-remaining-{measure}"] = str(standing.remaining)
        if measure is not Measure.CONCURRENT:
            headers[f"x-ratelimit-reset-{measure}"] = _duration(standing.reset_s)
    return headers


def _duration(seconds: float) -> str:
    """Return a time as OpenAI writes it: `1s`, `6m0s`."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
