"""Decides what a site must do so that its models are as desired: pure functions, no I/O, no clock.

`decide` takes a `View` of the site and returns a `Decision`; docs/developers/lifecycle.md has the
rules. What it remembers from one look to the next is a value that the caller carries, and may lose.
"""

from compute_functions.reconciler.actions import Action, Cancel, Drain, Submit
from compute_functions.reconciler.decide import decide
from compute_functions.reconciler.decision import Decision
from compute_functions.reconciler.estimate import Estimate
from compute_functions.reconciler.member import Draining, Member, Registered
from compute_functions.reconciler.memory import Memory
from compute_functions.reconciler.model_key import ModelKey
from compute_functions.reconciler.policy import Policy
from compute_functions.reconciler.view import View

__all__ = [
    "Action",
    "Cancel",
    "Decision",
    "Drain",
    "Draining",
    "Estimate",
    "Member",
    "Memory",
    "ModelKey",
    "Policy",
    "Registered",
    "Submit",
    "View",
    "decide",
]
