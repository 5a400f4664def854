"""Asks an engine whether it is well and can work; each answer is what is wrong, or nothing.

The words become public with the instance's state: they name no path of this host.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from compute_functions import errors, loopback_port
from compute_functions.engine_client import Call, Engine
from compute_functions.engine_config import EngineConfig

log = logging.getLogger("hotnode.launcher")

#: A busy engine's health route may be slow (seconds).
HEALTH_TIMEOUT_S = 10.0
#: With the health probe before it this must stay well below the age of a stale registration (s).
WORK_TIMEOUT_S = 20.0
_ANSWER_LIMIT = 1_000_000
OK, UNAUTHORIZED, FORBIDDEN = 200, 401, 403
_SILENCES: dict[type[errors.CallFailed], str] = {
    errors.EngineUnreachable: "nobody answers",
    errors.EngineBrokeOff: "it hangs up without a whole answer",
    errors.EngineTimedOut: "no answer in time",
    errors.AnswerTooLarge: "too large an answer",
}


class EngineProbe:
    """The questions to one engine; `leader` is the process that began the engine's session."""

    def __init__(self, config: EngineConfig, engine: Engine, *, leader: int) -> None:
        self._config = config
        self._engine = engine
        self._leader = leader
        self._port = loopback_port.of(engine.endpoint)

    async def health(self) -> str:
        """Whether our engine, and nobody else, listens where it should and says it is well."""
        wrong = await asyncio.to_thread(self._intruder)
        if wrong:
            return wrong
        path = self._config.health_path
        heard = await _heard(
            self._engine,
            Call(method="GET", path=path, timeout_s=HEALTH_TIMEOUT_S, max_bytes=_ANSWER_LIMIT),
        )
        return "" if heard == OK else f"GET {path}: {_words(heard)}"

    async def work(self, model: str, paths: Mapping[str, str]) -> str:
        """Ask for as little as can be: some engines report health while they cannot answer."""
        probe = self._config.probe_for(paths)
        if probe is None:
            return ""
        path, smallest = probe
        body, kind = smallest.request(model)
        call = Call(
            path=path,
            body=body,
            headers={"content-type": kind},
            timeout_s=WORK_TIMEOUT_S,
            max_bytes=_ANSWER_LIMIT,
        )
        wrong = await self._openness(call)
        if wrong:
            return wrong
        heard = await _heard(self._engine, call)
        return "" if heard == OK else f"POST {path}: {_words(heard)}"

    def _intruder(self) -> str:
        if self._port is None or loopback_port.held_by_session(self._port, self._leader):
            return ""
        if loopback_port.held(self._port):
            return "a process that is not of the engine's own session listens on its port"
        return (
            f"nobody listens on its port of {loopback_port.HOST}; the engine must bind this very "
            "address, not 0.0.0.0 and not ::1"
        )

    async def _openness(self, call: Call) -> str:
        """Ask without the key: on a port everybody on this host can.

        An engine that answers then does not know its key, and never will.
        """
        if self._port is None:
            return ""
        heard = await _heard(replace(self._engine, api_key=""), call)
        if heard == OK:
            raise errors.EngineFailed(f"it answers {call.path} to callers without its key")
        if heard in {UNAUTHORIZED, FORBIDDEN}:
            return ""
        return (
            f"POST {call.path} without the key: {_words(heard)}; the engine must refuse it with "
            f"{UNAUTHORIZED} or {FORBIDDEN}, whatever the body"
        )


async def _heard(engine: Engine, call: Call) -> int | str:
    """Return the answer's status, or why there was none: not in the error's own words."""
    try:
        return (await engine.send(call)).status
    except errors.CallFailed as error:
        log.debug("probe_failed error=%s", error)
        return _SILENCES[type(error)]


def _words(heard: int | str) -> str:
    return f"status {heard}" if isinstance(heard, int) else heard
