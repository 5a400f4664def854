"""Real engines that acceptance and conformance tests share, as a plugin of the tests' root.

All real engines of a process run at one site; each starts when a test first wants it, and stays.
The site has enrolled at two gateways, that of the acceptance tests and that of the clients' ones:
relays dial each while it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from compute_functions.site import VARIABLE
from lab.relays import Enrolment, enrol
from tests.support.engine import RunningEngine, running_engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolments:
    """The site's enrolment at each gateway."""

    acceptance: Enrolment
    conformance: Enrolment


@pytest.fixture(scope="session")
def engines_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the site at which all engines run."""
    return tmp_path_factory.mktemp("site")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def enrolments(engines_site: Path) -> Enrolments:
    """Enrol the site; engines that start then have relays."""
    acceptance, conformance = await enrol(engines_site, gateways=2)
    return Enrolments(acceptance=acceptance, conformance=conformance)


@pytest.fixture
def at_site(engines_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have requests of this process find the engines, as the endpoint's environment does."""
    monkeypatch.setenv(VARIABLE, str(engines_site))


def _running(model: str) -> Callable[..., Any]:
    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def engine(engines_site: Path, enrolments: Enrolments) -> AsyncIterator[RunningEngine]:
        async with running_engine(engines_site, model) as found:
            yield found

    return engine


#: The tiny chat model by vLLM: the engine of most tests.
ready_engine = _running("tiny-chat")
vision_engine = _running("tiny-vision")
whisper_engine = _running("tiny-whisper")
#: all-MiniLM by infinity, and by vLLM as what compares texts.
embedding_engine = _running("all-minilm")
scores_engine = _running("all-minilm-scores")
reranker_engine = _running("tiny-reranker")
classifier_engine = _running("tiny-classifier")
