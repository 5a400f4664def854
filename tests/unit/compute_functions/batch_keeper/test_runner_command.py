"""The command of a runner says what the order says."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest

from batch.commands import rule_options, run_options
from batch.commands.run_options import CACHE_SALT
from batch.rules import Rules
from compute_functions.batch_keeper import runner_command
from compute_functions.batch_keeper.runner_command import Target
from compute_functions.batch_spool import checking
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchOrder
from tests.support.batch_orders import order


def rules_of(wanted: BatchOrder) -> Rules:
    """Return the rules of the runner, as it reads its command."""
    command = runner_command.command(wanted, BatchFolder(Path("/spool/b")), 3, Target())
    parser = ArgumentParser()
    run_options.add_to(parser)
    return rule_options.rules(parser.parse_args(command[command.index("run") + 1 :]))


@pytest.mark.parametrize(
    "wanted",
    [
        order(),
        order(endpoint="/v1/embeddings", most_lines=7, most_bytes=8, most_inputs=9),
        order(reserved=("-x", "priority")),
        order(endpoints=("/v1/embeddings", "/v1/rerank", "/v1/of-tomorrow")),
    ],
)
def test_a_runner_takes_the_lines_that_were_taken_at_submission(wanted: BatchOrder) -> None:
    assert rules_of(wanted) == checking.rules(wanted)


def test_a_salt_is_handed_over_where_no_command_line_shows_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = order(cache_salt="0a1b")
    assert "0a1b" not in repr(wanted)
    command = runner_command.command(wanted, BatchFolder(Path("/spool/b")), 3, Target())
    assert not [word for word in command if "0a1b" in word]
    environment = runner_command.environment(wanted, {"PATH": "/bin", "SECRET": "s"})
    assert environment[CACHE_SALT] == "0a1b"
    # What the runner makes of it.
    parser = ArgumentParser()
    run_options.add_to(parser)
    given = parser.parse_args(command[command.index("run") + 1 :])
    assert run_options.job(given, most=1).changes.cache_salt is None
    monkeypatch.setenv(CACHE_SALT, environment[CACHE_SALT])
    assert run_options.job(given, most=1).changes.cache_salt == "0a1b"


def test_without_a_salt_there_is_none_and_nothing_of_ours_that_it_does_not_need() -> None:
    environment = runner_command.environment(order(), {"PATH": "/bin", "SECRET": "s"})
    no_certificates = {"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/dev/null"}
    assert environment == {"PATH": "/bin", **no_certificates}


@pytest.mark.parametrize(
    ("target", "has_engine"), [(Target(), False), (Target(endpoint="/engine.sock"), True)]
)
def test_a_runner_beside_the_agent_has_no_engine(target: Target, has_engine: bool) -> None:
    command = runner_command.command(order(), BatchFolder(Path("/spool/b")), 3, target)
    parser = ArgumentParser()
    run_options.add_to(parser)
    given = parser.parse_args(command[command.index("run") + 1 :])
    assert run_options.job(given, most=1).has_engine is has_engine
