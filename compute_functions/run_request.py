"""One OpenAI request, carried from Globus Compute to an engine of this site and back.

An engine's answer is an answer whatever its status. Everything else that can go wrong is one of
the contract's failure codes. Nothing is raised: an exception would reach the gateway as text.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compute_functions import carriage, errors, instances, loopback_port, pushing
from compute_functions.contract import (
    ENVELOPE_ALLOWANCE,
    GLOBUS_PAYLOAD_LIMIT,
    MAX_UNPACKED,
    ContractError,
    EngineAnswer,
    EngineRequest,
    FailureCode,
    InstanceState,
    JsonObject,
    SiteFailure,
    UnsupportedProtocol,
    packed_size,
)
from compute_functions.contract.pushes import Push, PushedAnswer
from compute_functions.engine_client import Answer, Call, Engine
from compute_functions.pushed_call import PushedCall, Way
from compute_functions.relay.enrolment import Enrolment
from compute_functions.site import SiteDirectory

#: By so much may the clocks of gateway and site differ (seconds).
CLOCK_SKEW_S = 60.0
#: After these another instance may be asked.
_NOTHING_RAN = frozenset({FailureCode.ENGINE_UNREACHABLE, FailureCode.MODEL_NOT_RUNNING})
RESULT_LIMIT = GLOBUS_PAYLOAD_LIMIT - ENVELOPE_ALLOWANCE


class _Refused(Exception):
    """Carries a failure to the one place that turns it into a value."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.failure = SiteFailure(code=code, message=message)


def run_request(wire: object) -> JsonObject:
    """Answer one request: the body of the registered function of the same name.

    It runs in a thread of the endpoint's process. A loop and a connection of its own cost 1 ms of
    CPU, against 0.25 ms for the standard library's client, whose timeout counts each read and not
    the whole. No stuck request can delay or break another.
    """
    return asyncio.run(answer(wire))


async def answer(wire: object) -> JsonObject:
    """Do what `run_request` does, for callers that have an event loop."""
    started = time.monotonic()
    try:
        return await _answer(wire, started)
    except _Refused as refused:
        return refused.failure.to_wire()


async def _answer(wire: object, started: float) -> JsonObject:
    request = _read(wire)
    able = _instances_for(request)
    if request.push is not None:
        return await _push(_ways(request, able), request.push, started)
    sent = time.monotonic()
    said = await _sent(request, able, until=started + request.timeout_s)
    engine_s = time.monotonic() - sent
    reply = EngineAnswer(
        status=said.status,
        body=said.body,
        headers=carriage.response_headers(said.headers),
        engine_s=engine_s,
        site_s=time.monotonic() - started,
    ).to_wire()
    _must_fit(reply)
    return reply


def _read(wire: object) -> EngineRequest:
    try:
        request = EngineRequest.from_wire(wire)
    except UnsupportedProtocol as error:
        raise _Refused(FailureCode.UNSUPPORTED_PROTOCOL, str(error)) from error
    except ContractError as error:
        raise _Refused(FailureCode.INVALID_REQUEST, str(error)) from error
    if request.method != "POST":
        raise _Refused(FailureCode.INVALID_REQUEST, f"method {request.method!r}, not POST")
    if not carriage.patience_is_within_reason(request.timeout_s):
        raise _Refused(
            FailureCode.INVALID_REQUEST,
            f"timeout_s {request.timeout_s!r} is not between 0 and {carriage.MAX_TIMEOUT_S:g}",
        )
    if request.expires_at is not None and time.time() > request.expires_at + CLOCK_SKEW_S:
        # It waited while the endpoint was away, and nobody waits for its answer any more.
        raise _Refused(FailureCode.EXPIRED, "the request came after its caller's deadline")
    return request


def _instances_for(request: EngineRequest) -> list[instances.Registration]:
    """Return the ready instances of the model within reach; several share the load by chance."""
    ready = _ready(request)
    serving = [found for found in ready if request.path in found.paths]
    if not serving:
        raise _Refused(FailureCode.PATH_NOT_ALLOWED, f"{request.path} is not served here")
    obstacles = {one.name: _obstacle(one) for one in serving}
    able = [one for one in serving if not obstacles[one.name]]
    if able:
        return random.sample(able, len(able))
    message = f"no ready instance of {request.model} is within reach: "
    # For who asks by task it is as if none ran, which tells that another place may be asked. What
    # listens on a compute node alone is for its relay.
    said = "; ".join(sorted(set(obstacles.values())))
    raise _Refused(FailureCode.MODEL_NOT_RUNNING, message + said)


def _ready(request: EngineRequest) -> list[instances.Registration]:
    try:
        site = SiteDirectory.from_environment(os.environ)
    except errors.ConfigurationError as error:
        raise _Refused(FailureCode.SITE_MISCONFIGURED, str(error)) from error
    known = [
        found
        for found in instances.observed(site, time.time())
        if (found.framework, found.model, found.purpose) == (request.framework, request.model, "")
    ]
    ready = [found for found in known if found.state is InstanceState.READY]
    if not ready:
        states = ", ".join(sorted(found.state for found in known)) or "none was started"
        raise _Refused(
            FailureCode.MODEL_NOT_RUNNING,
            f"no ready instance of {request.model} with {request.framework}: {states}",
        )
    return ready


def _obstacle(registration: instances.Registration) -> str:
    """Return why the engine cannot be reached from this host; nothing if it can.

    A socket and a loopback port are their own host's. Here the same port may be another engine's,
    or another user's program.
    """
    if _comes_by_door(registration):
        return ""
    port = loopback_port.of(registration.endpoint)
    local = port is not None or registration.endpoint.startswith("/")
    if local and registration.host != socket.gethostname():
        return f"one listens where only {registration.host} can reach it"
    if port is not None and not loopback_port.held_by_us(port):
        return f"nobody of ours listens on the port of one on {registration.host}"
    return ""


def _comes_by_door(registration: instances.Registration) -> bool:
    """Tell whether an instance on another host is reached there."""
    return bool(registration.door) and registration.host != socket.gethostname()


def _engine(registration: instances.Registration) -> Engine:
    key = _key(registration)
    if _comes_by_door(registration):
        fingerprint = registration.door_fingerprint
        return Engine(endpoint=registration.door, api_key=key, fingerprint=fingerprint)
    return Engine(endpoint=registration.endpoint, api_key=key)


def _key(registration: instances.Registration) -> str:
    try:
        return Path(registration.api_key_file).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        # The launcher removes the key as the last act of a stop.
        message = f"the instance of {registration.model} stopped just now"
        raise _Refused(FailureCode.MODEL_NOT_RUNNING, message) from error
    except OSError as error:
        message = f"the key of {registration.model} cannot be read: {error.strerror}"
        raise _Refused(FailureCode.SITE_MISCONFIGURED, message) from error


def _call(request: EngineRequest, path: str) -> Call:
    return Call(
        path=path,
        body=request.body,
        headers=carriage.request_headers(request.headers, request.request_id),
        timeout_s=request.timeout_s,
        max_bytes=MAX_UNPACKED,
    )


def _ways(request: EngineRequest, able: Sequence[instances.Registration]) -> list[Way]:
    """Return how each is asked; one that has stopped just now is left out if there are others."""
    ways, said = [], ""
    for one in able:
        try:
            ways.append((_engine(one), _call(request, one.paths[request.path])))
        except _Refused as refused:
            if refused.failure.code not in _NOTHING_RAN:
                raise
            said = refused.failure.message
    if not ways:
        raise _Refused(FailureCode.MODEL_NOT_RUNNING, said)
    return ways


async def _push(ways: Sequence[Way], push: Push, started: float) -> JsonObject:
    """Push the answer, and return how that ended."""
    if not carriage.patience_is_within_reason(push.silence_s):
        raise _Refused(FailureCode.INVALID_REQUEST, f"silence_s is {push.silence_s!r}")
    enrolment = _enrolment()
    pushed = PushedCall(ways, silence_s=push.silence_s, started=started)
    try:
        pushing.require_allowed(push, enrolment)
        await pushing.push_answer(push, pushed, enrolment.ca_file if enrolment else "")
    except errors.ConfigurationError as error:
        raise _Refused(FailureCode.HUB_NOT_ALLOWED, str(error)) from error
    except errors.HubUnreachable as error:
        raise _Refused(FailureCode.HUB_UNREACHABLE, str(error)) from error
    except errors.CallerLeft as error:
        raise _Refused(FailureCode.CALLER_LEFT, str(error)) from error
    if pushed.failure is not None:
        raise _Refused(pushed.failure.code, pushed.failure.message)
    return PushedAnswer(
        length=pushed.length, engine_s=pushed.engine_s, site_s=time.monotonic() - started
    ).to_wire()


def _enrolment() -> Enrolment | None:
    try:
        return Enrolment.read(SiteDirectory.from_environment(os.environ))
    except errors.ConfigurationError as error:
        raise _Refused(FailureCode.SITE_MISCONFIGURED, str(error)) from error


async def _sent(
    request: EngineRequest, able: Sequence[instances.Registration], *, until: float
) -> Answer:
    """Ask one after the other until one takes the request: nothing ran at those before it."""
    said = "no time was left to ask it"
    for one in able:
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        call = replace(_call(request, one.paths[request.path]), timeout_s=left_s)
        try:
            return await _send(_engine(one), call)
        except _Refused as refused:
            is_last = one is able[-1]
            if refused.failure.code not in _NOTHING_RAN or (is_last and not _comes_by_door(one)):
                raise
            said = refused.failure.message
    # Its node is gone, or it has just ended: as if none ran, until the site's agent replaces it.
    raise _Refused(FailureCode.MODEL_NOT_RUNNING, said)


async def _send(engine: Engine, call: Call) -> Answer:
    try:
        return await engine.send(call)
    except errors.EngineTimedOut as error:
        raise _Refused(FailureCode.ENGINE_TIMEOUT, str(error)) from error
    except errors.EngineUnreachable as error:
        raise _Refused(FailureCode.ENGINE_UNREACHABLE, str(error)) from error
    except errors.EngineBrokeOff as error:
        raise _Refused(FailureCode.ENGINE_BROKE_OFF, str(error)) from error
    except errors.AnswerTooLarge as error:
        raise _Refused(FailureCode.RESPONSE_TOO_LARGE, _too_large(str(error))) from error


def _must_fit(reply: JsonObject) -> None:
    size = packed_size(reply["body"])
    if size > RESULT_LIMIT:
        raise _Refused(FailureCode.RESPONSE_TOO_LARGE, _too_large(f"{size} bytes when packed"))


def _too_large(size: str) -> str:
    return (
        f"the engine's answer is {size}; a Globus Compute result holds {RESULT_LIMIT}. "
        "Ask for less at once: fewer tokens, fewer choices, fewer inputs."
    )
