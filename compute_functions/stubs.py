"""The functions that are registered with Globus Compute: as short as they can be.

Their source text is what the service stores and the endpoint runs, in an empty namespace. So each
imports what it needs itself, uses built-in names only, and leaves all work to the installed
package. A changed text is another function with another id, which every endpoint must then allow:
change the package instead.
"""

from __future__ import annotations

from collections.abc import Callable


def run_request(wire: dict[str, object]) -> dict[str, object]:
    """Carry one OpenAI request to an engine of this site."""
    from compute_functions.run_request import run_request as carry  # noqa: PLC0415

    return carry(wire)


def site_status(wire: dict[str, object]) -> dict[str, object]:
    """Say which model instances this site has."""
    from compute_functions.instances import site_status as look  # noqa: PLC0415

    return look(wire)


def ensure_site_agent(wire: dict[str, object]) -> dict[str, object]:
    """See to it that this site's agent runs, hand it what is desired, and say what there is."""
    from compute_functions.site_agent.ensuring import ensure_site_agent as ensure  # noqa: PLC0415

    return ensure(wire)


def keep_instance(wire: dict[str, object]) -> dict[str, object]:
    """Run one model instance in the job that this is called in, until it ends."""
    from compute_functions.keep_instance import keep_instance as keep  # noqa: PLC0415

    return keep(wire)


def run_batch(wire: dict[str, object]) -> dict[str, object]:
    """Take, cancel, report or forget batches of this site."""
    from compute_functions.batch_spool.calls import run_batch as run  # noqa: PLC0415

    return run(wire)


def batch_file(wire: dict[str, object]) -> dict[str, object]:
    """Take a piece of a batch's input, or give one of its results."""
    from compute_functions.batch_spool.calls import batch_file as serve  # noqa: PLC0415

    return serve(wire)


STUBS: tuple[Callable[[dict[str, object]], dict[str, object]], ...] = (
    run_request,
    site_status,
    ensure_site_agent,
    keep_instance,
    run_batch,
    batch_file,
)
