"""The Compute web service, put together: its routes and what must run beside them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_globus.auth.authority import Authority
from local_globus.compute import errors, names
from local_globus.compute.callers import Callers
from local_globus.compute.endpoints import Endpoints, EndpointStore
from local_globus.compute.functions import Functions
from local_globus.compute.limits import Limits, RequestBudget
from local_globus.compute.link import Link, LinkError
from local_globus.compute.results import Intake
from local_globus.compute.submission import Parts, Submission
from local_globus.compute.tasks import Tasks, TaskStore
from local_globus.compute.topology import Topology
from local_globus.compute.workers import Workers
from local_globus.database import Database

_SWEEP_S = 30.0
_VERSIONS = {
    "api": "1.40.0",
    "min_sdk_version": "2.0.0",
    "min_ep_version": "4.10.1",
    "min_endpoint_version": "4.10.1",
    "git_sha": "local",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeService:
    """The application, and what connects it with the broker."""

    application: Starlette
    endpoints: EndpointStore
    link: Link
    intake: Intake
    tasks: TaskStore
    topology: Topology
    workers: Workers

    async def run(self) -> None:
        """Work on what the broker brings, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.intake.run())
            group.create_task(self._sweep())
            received = self.intake.receive
            queues = {names.RESULT_QUEUE: received, names.HEARTBEAT_QUEUE: received}
            lost = self.endpoints.stop_listening
            group.create_task(self.link.run(declare=self._declare, queues=queues, lost=lost))

    async def _declare(self) -> None:
        try:
            await self.topology.add_service()
            await self.workers.declare_all()
        except errors.ServiceError as error:
            raise LinkError("The broker does not let the service declare its queues") from error
        self.endpoints.listen_again()

    async def _sweep(self) -> None:
        while True:
            self.tasks.drop_old()
            await asyncio.sleep(_SWEEP_S)


def service(
    database: Database, authority: Authority, *, users: names.BrokerUsers, limits: Limits
) -> ComputeService:
    """Return the Compute web service."""
    callers = Callers(authority, RequestBudget(limits))
    link = Link(users.url(names.SERVICE_USER))
    topology = Topology(link, users, limits)
    store = EndpointStore(database, authority.clock)
    endpoints = Endpoints(store, callers, topology=topology, limits=limits)
    functions = Functions(database, callers, limits)
    tasks = TaskStore(database, authority.clock, limits)
    workers = Workers(database, authority, store=store, link=link, topology=topology)
    submission = Submission(
        Parts(
            callers=callers,
            endpoints=endpoints,
            functions=functions,
            tasks=tasks,
            workers=workers,
            topology=topology,
            link=link,
            limits=limits,
        )
    )
    reading = Tasks(tasks, callers, users=users, limits=limits)
    routes = [*_endpoint_routes(endpoints, submission), *_other_routes(functions, reading)]
    return ComputeService(
        application=Starlette(
            routes=routes, exception_handlers={errors.ServiceError: errors.render}
        ),
        endpoints=store,
        link=link,
        intake=Intake(link, endpoints=store, workers=workers, tasks=tasks, limits=limits),
        tasks=tasks,
        topology=topology,
        workers=workers,
    )


async def _version(request: Request) -> JSONResponse:
    everything = request.query_params.get("service") == "all"
    return JSONResponse(_VERSIONS if everything else _VERSIONS["api"])


def _endpoint_routes(endpoints: Endpoints, submission: Submission) -> list[Route]:
    one = "/endpoints/{endpoint_id}"
    return [
        Route("/v3/endpoints", endpoints.register, methods=["POST"]),
        Route(f"/v3{one}", endpoints.register, methods=["PUT"]),
        Route(f"/v3{one}/submit", submission.submit, methods=["POST"]),
        Route(f"/v3{one}/lock", endpoints.lock, methods=["POST"]),
        Route(f"/v3{one}/allowed_functions", endpoints.allowed_functions),
        Route("/v2/endpoints", endpoints.listed),
        Route(f"/v2{one}", endpoints.read),
        Route(f"/v2{one}", endpoints.delete, methods=["DELETE"]),
        Route(f"/v2{one}/status", endpoints.status),
        Route(f"/v2{one}/lock", endpoints.lock, methods=["POST"]),
    ]


def _other_routes(functions: Functions, tasks: Tasks) -> list[Route]:
    return [
        Route("/v2/version", _version),
        Route("/v3/functions", functions.register, methods=["POST"]),
        Route("/v2/functions/{function_id}", functions.read),
        Route("/v2/functions/{function_id}", functions.delete, methods=["DELETE"]),
        Route("/v2/tasks/{task_id}", tasks.read),
        Route("/v2/batch_status", tasks.read_many, methods=["POST"]),
        Route("/v2/taskgroup/{group_id}", tasks.read_group),
        Route("/v2/get_amqp_result_connection_url", tasks.result_connection),
    ]
