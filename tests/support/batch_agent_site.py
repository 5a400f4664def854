"""A site on real Slurm that takes batches: the real agent, jobs with an engine that counts."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from batch.folder import Folder
from compute_functions.batch_keeper.working import Run, Working
from compute_functions.batch_spool.folders import BatchFolder
from compute_functions.contract.batches import BatchFile, BatchReport, Piece
from lab.slurm.cluster import SlurmCluster
from tests.support import batch_engine
from tests.support.agent_site import AgentSite
from tests.support.batch_orders import BatchSite, order, sum_of
from tests.support.eventually import eventually
from tests.support.ordered_jobs import FRAMEWORK, MODEL

CHAT = "/v1/chat/completions"
BATCH = "batch_00000001"
#: Longer than a batch of these tests takes on a busy machine, with an engine's start (seconds).
LONG_S = 90.0


def text_of(batch: str, number: int) -> str:
    """Return what a line asks."""
    return f"{batch} line {number}"


def content_of(batch: str, count: int) -> bytes:
    """Return an input whose lines each ask something else."""
    lines = (
        {
            "custom_id": f"line-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {
                "model": MODEL,
                "messages": [{"role": "user", "content": text_of(batch, number)}],
            },
        }
        for number in range(count)
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was recorded, and asked, at one moment."""

    recorded: set[str]
    asked: Counter[str]
    batch: str

    def asked_again(self, asked: Counter[str]) -> list[str]:
        """Return the lines that were recorded, and were asked once more since."""
        texts = {
            name: text_of(self.batch, int(name.removeprefix("line-"))) for name in self.recorded
        }
        return [name for name, text in texts.items() if asked[text] != self.asked[text]]


@dataclass(slots=True)
class BatchAgentSite:
    """The site, as its agent and a gateway see it."""

    agents: AgentSite
    batches: BatchSite

    @classmethod
    def made(
        cls, folder: Path, cluster: SlurmCluster, *, delay_s: float = 0.05, **changes: Any
    ) -> BatchAgentSite:
        """Write the site's files; `changes` are of the section `batches` and of the model's."""
        command = [
            *(sys.executable, "-P", batch_engine.__file__, "--socket", "{socket}"),
            *("--model", "{model}", "--record", "{model_path}/asked", "--delay-s", str(delay_s)),
        ]
        model = changes.pop("model", {})
        agents = AgentSite.made(
            folder,
            cluster,
            command=command,
            paths=[CHAT],
            probes={"chat/completions": {"body": {"messages": [{"content": "probe"}]}}},
            load=None,
            job={"drain_before_s": 8, "kill_wait_s": 5},
        )
        _change(agents.ordered.site.root / "site.yaml", batches={"keep_free_bytes": 0} | changes)
        _change(folder / "engines" / "lifecycle.yaml", load=None)
        model = {"batch": {"concurrency": 4}} | model
        _change(folder / "models" / "model.yaml", routes=["chat/completions"], **model)
        return cls(agents=agents, batches=BatchSite(agents.ordered.site))

    def submit(self, count: int, batch: str = BATCH, **changes: Any) -> None:
        """Submit a batch of so many lines, as a gateway does."""
        content = content_of(batch, count)
        values = {"model": MODEL, "framework": FRAMEWORK, "upload": sum_of(content)} | changes
        self.batches.taken(order(batch, **values))
        self.batches.upload(content, batch=batch)

    def report(self, batch: str = BATCH) -> BatchReport:
        """Return what the gateway is told."""
        return self.batches.report(batch)

    async def until(
        self, such: Callable[[BatchReport], bool], batch: str = BATCH, *, within_s: float = LONG_S
    ) -> BatchReport:
        """Wait until the gateway is told such a thing."""
        await eventually(lambda: such(self.report(batch)), seconds=within_s)
        return self.report(batch)

    async def ended(self, batch: str = BATCH) -> BatchReport:
        """Wait for a batch's end."""
        return await self.until(lambda told: told.state.final, batch)

    def records(self, batch: str = BATCH) -> list[str]:
        """Return the ids of all records of a batch that is over, as a gateway fetches them."""
        found = []
        for file, told in (
            (BatchFile.OUTPUT, self.report(batch).output),
            (BatchFile.ERRORS, self.report(batch).error_file),
        ):
            content = b""
            while told is not None and len(content) < told.bytes:
                piece = self.batches.piece(file, len(content), batch=batch)
                assert isinstance(piece, Piece)
                content += piece.content
            found += [json.loads(line)["custom_id"] for line in content.splitlines()]
        return found

    @property
    def asked(self) -> Counter[str]:
        """How often each text was asked, of all engines together."""
        record = self.agents.ordered.folder / "weights" / "asked"
        texts = record.read_text().splitlines() if record.exists() else []
        return Counter(text for text in texts if text != "probe")

    def recorded(self, batch: str = BATCH) -> set[str]:
        """Return the ids that stand in the batch's journal now."""
        return recorded_in(self.batches.folder(batch))

    def run(self, batch: str = BATCH) -> tuple[str, Run] | None:
        """Return the runner that works on a batch, and on which instance."""
        for instance in self.agents.instances("ready"):
            said = Working.read(self.batches.spool, instance.name)
            for run in said.runs if said else ():
                if run.batch == batch and run.status is None:
                    return instance.name, run
        return None

    def process(self, node: str, *words: str) -> int:
        """Return the number, as this machine knows it, of the one process of a node with words."""
        (found,) = self.processes(node, *words)
        return found

    def processes(self, node: str, *words: str) -> list[int]:
        """Return all of a node's processes whose command has all of these words."""
        return [
            pid
            for pid in self.agents.cluster.processes(node)
            if all(word in _command(pid) for word in words)
        ]

    def epochs(self, batch: str = BATCH) -> list[int]:
        """Return the epochs that runners of a batch took."""
        taken = (self.batches.folder(batch).work / "epochs").iterdir()
        return sorted(int(path.name) for path in taken)

    def snapshot(self, batch: str = BATCH) -> Snapshot:
        """Return which lines are recorded now, and how often each was asked."""
        return Snapshot(recorded=self.recorded(batch), asked=self.asked, batch=batch)

    async def running(self, batch: str = BATCH, *, recorded: int = 20) -> tuple[str, Run]:
        """Wait until so many lines of a batch are recorded, and it goes on; return its runner."""
        await self.until(lambda told: told.completed >= recorded, batch)
        await eventually(lambda: self.run(batch), seconds=LONG_S)
        found = self.run(batch)
        assert found is not None
        return found


def recorded_in(folder: BatchFolder) -> set[str]:
    """Return the ids that stand in a batch's journal now."""
    found = set()
    for segment in Folder(folder.work).journal.glob("*.journal"):
        for line in segment.read_bytes().splitlines():
            values = _json_of(line)
            if values is not None and "custom_id" in values:
                found.add(str(values["custom_id"]))
    return found


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []  # It ended while we looked.


def _json_of(line: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(line.split(b" ", 2)[2])
    except (ValueError, IndexError):
        return None  # The last record of a runner that was killed may be torn.
    return values if isinstance(values, dict) else None


def _change(file: Path, **changes: Any) -> None:
    values = yaml.safe_load(file.read_text()) | changes
    kept = {name: value for name, value in values.items() if value is not None}
    file.write_text(yaml.safe_dump(kept))
