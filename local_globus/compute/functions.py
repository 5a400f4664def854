"""Registered functions: who owns them, who may use them, and their code."""

from __future__ import annotations

import json
import sqlite3
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from local_globus.compute import errors
from local_globus.compute.callers import Caller, Callers
from local_globus.compute.limits import Limits, json_body
from local_globus.database import Database


class Functions:
    """The functions, and the routes that register, read and delete them."""

    def __init__(self, database: Database, callers: Callers, limits: Limits) -> None:
        self._database = database
        self._callers = callers
        self._limits = limits

    def usable(self, function_id: str, caller: Caller) -> sqlite3.Row:
        """Return a function that the caller may use, or refuse."""
        row = self._database.one("SELECT * FROM functions WHERE id = ?", function_id)
        if row is None:
            raise errors.function_not_found(function_id)
        shared = row["public"] or (
            row["group_id"] and self._callers.is_member(caller, row["group_id"])
        )
        if row["owner"] not in caller.ids and not shared:
            raise errors.function_forbidden(function_id)
        return row

    async def register(self, request: Request) -> JSONResponse:
        """Keep a function and return its new id."""
        caller = self._callers.of(request)
        body = await json_body(request, self._limits)
        name, code = body.get("function_name"), body.get("function_code")
        if not isinstance(name, str) or not isinstance(code, str):
            raise errors.malformed("function_name and function_code")
        function_id = str(uuid.uuid4())
        self._database.run(
            "INSERT INTO functions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            function_id,
            caller.id,
            name,
            code,
            code if body.get("serialized", True) else _packed_source(name, code),
            body.get("description"),
            bool(body.get("public")),
            body.get("group"),
            json.dumps(body.get("meta") or {}),
        )
        return JSONResponse({"function_uuid": function_id})

    async def read(self, request: Request) -> JSONResponse:
        """Describe a function."""
        row = self.usable(request.path_params["function_id"], self._callers.of(request))
        view: dict[str, Any] = {
            "function_uuid": row["id"],
            "function_name": row["name"],
            "function_code": row["code"],
            "description": row["description"],
            "metadata": json.loads(row["metadata"]),
        }
        return JSONResponse(view)

    async def delete(self, request: Request) -> JSONResponse:
        """Forget a function of the caller."""
        caller, function_id = self._callers.of(request), request.path_params["function_id"]
        if self.usable(function_id, caller)["owner"] not in caller.ids:
            raise errors.function_forbidden(function_id)
        self._database.run("DELETE FROM functions WHERE id = ?", function_id)
        return JSONResponse({"result": 302})


def _packed_source(name: str, source: str) -> str:
    """Pack plain source as the SDK's strategy `PureSourceTextInspect` does (`st`)."""
    buffer = f"st\n{name}:{source}"
    return f"{len(buffer)}\n{buffer}"
