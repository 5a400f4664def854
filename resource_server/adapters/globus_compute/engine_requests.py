"""A request in the words of the contract with sites."""

from __future__ import annotations

import time

from compute_functions.contract import EngineRequest
from compute_functions.contract.pushes import Push
from resource_server.domain.inference import InferenceRequest


def engine_request(request: InferenceRequest, push: Push | None = None) -> EngineRequest:
    """Return what the function `run_request` is asked, from now on."""
    return EngineRequest(
        request_id=request.request_id,
        framework=request.framework,
        model=request.model,
        path=request.path,
        headers=request.headers,
        body=request.body,
        timeout_s=request.timeout_s,
        expires_at=time.time() + request.timeout_s,
        push=push,
    )
