"""Runs every feature of a client against every base URL, and prints what came of each as JSON.

The scripts beside this one run in the clients' own environments, so they import nothing of ours.
On their standard input comes what the gateway offers; see `tests/support/client_runs.py`.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

Offer: TypeAlias = dict[str, Any]
#: Told what there is, with `base_url`; returns what JSON can hold.
Feature: TypeAlias = Callable[[Offer], object]

#: What errors of the various SDKs have.
FACTS = ("status_code", "code", "param", "type", "request_id", "message")


def run(*features: Feature) -> None:
    """Print `{base: {feature: {"said": …} or {"error": …}}}`."""
    offer = json.load(sys.stdin)
    done = {
        base: {feature.__name__: _one(feature, offer | {"base_url": url}) for feature in features}
        for base, url in offer["bases"].items()
    }
    json.dump(done, sys.stdout)


def _one(feature: Feature, offer: Offer) -> dict[str, object]:
    try:
        return {"said": feature(offer)}
    except Exception as error:  # noqa: BLE001 - whatever a client raises is what is looked at
        facts = {name: getattr(error, name, None) for name in FACTS}
        plain = {name: fact for name, fact in facts.items() if isinstance(fact, str | int)}
        shown = {"class": type(error).__name__, "text": str(error)}
        return {"error": plain | shown, "traceback": traceback.format_exc()[-2000:]}
