"""Tasks and task groups: what was asked for, what came of it, and the routes that tell."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.clock import Clock
from local_globus.compute import errors, names
from local_globus.compute.callers import Caller, Callers
from local_globus.compute.limits import Limits, json_body
from local_globus.database import Database


class TaskStore:
    """The tasks that are not finished, and those whose result may still be fetched."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits

    def group(self, group_id: str, caller: Caller) -> sqlite3.Row | None:
        """Return a task group of the caller, `None` if there is no such group yet."""
        row = self._database.one("SELECT * FROM task_groups WHERE id = ?", group_id)
        if row is not None and row["owner"] != caller.id:
            raise errors.group_forbidden(group_id)
        return row

    def keep_group(self, group_id: str, owner: str, *, has_queue: bool) -> None:
        """Remember a task group, and that it has a queue once it has one."""
        self._database.run(
            "INSERT INTO task_groups VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET has_queue = max(has_queue, excluded.has_queue)",
            group_id,
            owner,
            has_queue,
            self._clock.now(),
        )

    def add(self, tasks: Sequence[tuple[str, str, str, str, str]]) -> None:
        """Remember tasks, each an id, a group, an owner, a function and a user endpoint."""
        now = self._clock.now()
        with self._database.transaction():
            self._database.run_many(
                "INSERT INTO tasks (id, group_id, owner, function_id, user_endpoint_id, status,"
                " created_at) VALUES (?, ?, ?, ?, ?, 'pending', ?)",
                [(*task, now) for task in tasks],
            )

    def forget(self, task_ids: Iterable[str]) -> None:
        """Forget tasks that never reached the endpoint's queue."""
        rows = [(id_,) for id_ in task_ids]
        with self._database.transaction():
            self._database.run_many("DELETE FROM tasks WHERE id = ?", rows)

    def pending(self, task_id: str, worker_id: str) -> bool:
        """Say whether a task waits for a result from this user endpoint."""
        query = "SELECT 1 FROM tasks WHERE id = ? AND user_endpoint_id = ? AND status = 'pending'"
        return self._database.one(query, task_id, worker_id) is not None

    def pending_of(self, worker_id: str) -> list[str]:
        """Return the tasks that wait for a user endpoint."""
        query = "SELECT id FROM tasks WHERE user_endpoint_id = ? AND status = 'pending'"
        return [row["id"] for row in self._database.all(query, worker_id)]

    def result_queue(self, task_id: str) -> str | None:
        """Return the queue on which a task's submitter waits, if there is one."""
        row = self._database.one(
            "SELECT g.id, g.owner FROM tasks t JOIN task_groups g ON g.id = t.group_id"
            " WHERE t.id = ? AND g.has_queue",
            task_id,
        )
        return None if row is None else names.group_prefix(row["owner"]) + str(row["id"])

    def finish(self, outcomes: Sequence[tuple[str, str, str, str]]) -> None:
        """Keep outcomes, each a status, the result or exception, details and a task's id."""
        now = self._clock.now()
        with self._database.transaction():
            self._database.run_many(
                "UPDATE tasks SET status = ?, outcome = ?, details = ?, completed_at = ?"
                " WHERE id = ? AND status = 'pending'",
                [(status, text, details, now, id_) for status, text, details, id_ in outcomes],
            )

    def drop_old(self) -> None:
        """Forget results that were kept long enough, and tasks that nobody will do any more."""
        now = self._clock.now()
        with self._database.transaction():
            self._database.run(
                "DELETE FROM tasks WHERE completed_at <= ?", now - self._limits.result_kept_s
            )
            oldest = now - self._limits.task_kept_s
            self._database.run("DELETE FROM tasks WHERE created_at <= ?", oldest)
            self._database.run(
                "DELETE FROM task_groups WHERE created_at <= ?"
                " AND id NOT IN (SELECT group_id FROM tasks)",
                oldest,
            )

    def of_caller(self, task_ids: Iterable[str], caller: Caller) -> dict[str, dict[str, Any]]:
        """Describe those of the tasks that the caller submitted, by id."""
        query = (
            "SELECT * FROM tasks WHERE id = ? AND owner = ?"
            " AND (completed_at IS NULL OR completed_at > ?)"
        )
        oldest = self._clock.now() - self._limits.result_kept_s
        rows = [self._database.one(query, id_, caller.id, oldest) for id_ in task_ids]
        return {row["id"]: _view(row) for row in rows if row is not None}

    def in_group(self, group_id: str) -> list[dict[str, Any]]:
        """Name the tasks of a group."""
        query = "SELECT id, created_at FROM tasks WHERE group_id = ? ORDER BY created_at"
        return [
            {"id": row["id"], "created_at": _iso(row["created_at"])}
            for row in self._database.all(query, group_id)
        ]


class Tasks:
    """The routes that tell what came of tasks."""

    def __init__(
        self, store: TaskStore, callers: Callers, *, users: names.BrokerUsers, limits: Limits
    ) -> None:
        self._store = store
        self._callers = callers
        self._users = users
        self._limits = limits

    async def read(self, request: Request) -> JSONResponse:
        """Describe one task, with its result if there is one."""
        task_id = request.path_params["task_id"]
        found = self._store.of_caller([task_id], self._callers.of(request))
        if task_id not in found:
            raise errors.task_not_found(task_id)
        return JSONResponse(found[task_id])

    async def read_many(self, request: Request) -> JSONResponse:
        """Describe several tasks; unknown ones are left out."""
        caller = self._callers.of(request)
        task_ids = (await json_body(request, self._limits)).get("task_ids")
        if not isinstance(task_ids, list):
            raise errors.malformed("task_ids")
        found = self._store.of_caller(task_ids, caller)
        return JSONResponse({"response": "batch", "results": found})

    async def read_group(self, request: Request) -> JSONResponse:
        """Name the tasks of a group."""
        caller, group_id = self._callers.of(request), request.path_params["group_id"]
        group = self._store.group(group_id, caller)
        if group is None:
            raise errors.group_not_found(group_id)
        reply = {
            "taskgroup_id": group_id,
            "create_websockets_queue": bool(group["has_queue"]),
            "tasks": self._store.in_group(group_id),
        }
        return JSONResponse(reply)

    async def result_connection(self, request: Request) -> JSONResponse:
        """Tell the caller where the result queues of its task groups are."""
        caller = self._callers.of(request)
        reply = {
            "queue_prefix": names.group_prefix(caller.id),
            "connection_url": self._users.url(f"identity.{caller.id}"),
        }
        return JSONResponse(reply)


def _view(row: sqlite3.Row) -> dict[str, Any]:
    view: dict[str, Any] = {"task_id": row["id"], "status": row["status"]}
    if row["status"] == "pending":
        return view
    outcome = "result" if row["status"] == "success" else "exception"
    return view | {
        outcome: row["outcome"],
        "completion_t": str(row["completed_at"]),
        "details": json.loads(row["details"]),
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
