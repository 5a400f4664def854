"""Every metric of the gateway by name, with its meaning, its labels and its unit.

Labels take their values from the catalog, from the code and from HTTP's own lists: what callers
send is never one. No metric names a person. How each is read is in
docs/operators/watch-the-gateway.md.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

#: How a gauge of several processes becomes one.
Mode: TypeAlias = Literal["livesum", "livemax", "livemin", "livemostrecent"]
#: From a cached refusal to the longest answer (seconds).
SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 600.0)
#: Where a model is served, and what is asked of it.
SERVED = ("cluster", "framework", "model", "operation")


class Instruments:
    """All metrics, on one registry.

    Several processes of a gateway are shown as one: their counters are added up, and each gauge
    says how it comes together (`multiprocess_mode`). `live` gauges leave out processes that ended.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # A second series for each counter, which tells what a restart tells anyway.
        disable_created_metrics()  # type: ignore[no-untyped-call] # by the library
        self.registry = registry
        self._about_requests()
        self._about_tokens_of_people()
        self._about_globus()
        self._about_relays()
        self._about_pushes()
        self._about_lifecycles()
        self._about_batches()
        self._about_the_catalog()

    def _about_requests(self) -> None:
        self.http_requests = self._counter(
            "hotnode_http_requests_total",
            "HTTP requests that ended, by route template.",
            ("route", "method", "status"),
        )
        self.in_flight = self._gauge(
            "hotnode_requests_in_flight", "HTTP requests under way.", (), mode="livesum"
        )
        self.requests = self._counter(
            "hotnode_requests_total",
            "Requests on routes that go to an engine; `code` is empty where all went well.",
            (*SERVED, "status", "code"),
        )
        self.seconds = Histogram(
            "hotnode_request_seconds",
            "Where the time of a request went, hop by hop; `total` is all of it.",
            (*SERVED, "hop"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_event = Histogram(
            "hotnode_stream_first_event_seconds",
            "Time from a request's arrival to the first event of its stream.",
            SERVED,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.streams_open = self._gauge(
            "hotnode_streams_open", "Streams under way.", (), mode="livesum"
        )
        self.streams_broken = self._counter(
            "hotnode_streams_broken_total",
            "Streams that did not come to their end, or not to the caller, by the reason.",
            (*SERVED, "code"),
        )
        self.tokens = self._counter(
            "hotnode_tokens_total",
            "Tokens as engines counted them; cached ones are input, reasoning ones are output.",
            ("cluster", "model", "kind"),
        )
        self.late_answers = self._counter(
            "hotnode_late_answers_total",
            "Requests whose caller had left, by what became of them at the engine.",
            (*SERVED, "result"),
        )
        self.limit_refusals = self._counter(
            "hotnode_limit_refusals_total", "Requests refused by a limit.", ("measure",)
        )

    def _about_tokens_of_people(self) -> None:
        self.token_checks = self._counter(
            "hotnode_token_checks_total",
            "Requests that showed a token or should have, by what it was worth.",
            ("result",),
        )
        self.introspection = Histogram(
            "hotnode_introspection_seconds",
            "Time that Globus Auth and Groups took to say whose a token is.",
            ("result",),
            buckets=SECONDS,
            registry=self.registry,
        )

    def _about_globus(self) -> None:
        client, purpose = ("client",), ("client", "purpose")
        self.globus_queue = self._gauge(
            "hotnode_globus_queue", "Calls that wait for a submission.", client, mode="livesum"
        )
        self.globus_tasks = self._gauge(
            "hotnode_globus_tasks_running",
            "Tasks that were submitted and have no result yet.",
            client,
            mode="livesum",
        )
        self.globus_budget = self._gauge(
            "hotnode_globus_budget_requests",
            "Requests to Globus Compute that may leave at once.",
            purpose,
            mode="livesum",
        )
        self.globus_wait = self._gauge(
            "hotnode_globus_budget_wait_seconds",
            "Time until the next request to Globus Compute may leave.",
            purpose,
            mode="livemax",
        )
        self.globus_link = self._gauge(
            "hotnode_globus_link",
            "Connections on which results arrive, by state.",
            ("client", "state"),
            mode="livesum",
        )
        self.globus_trouble = self._gauge(
            "hotnode_globus_submission_failing",
            "1 if the last submission failed, else 0.",
            client,
            mode="livemax",
        )

    def _about_relays(self) -> None:
        place = ("cluster", "framework", "model")
        self.relay_links = self._gauge(
            "hotnode_relay_links",
            "Links of sites' relays, by state.",
            (*place, "state"),
            mode="livesum",
        )
        self.relay_requests = self._gauge(
            "hotnode_relay_requests", "Requests under way on links.", place, mode="livesum"
        )
        self.relay_bytes = self._counter(
            "hotnode_relay_bytes_total",
            "Bytes that went over links, with their frames.",
            (*place, "direction"),
        )
        self.relay_resumes = self._counter(
            "hotnode_relay_resumes_total", "Links that were cut and went on.", place
        )
        self.relay_interrupted = self._counter(
            "hotnode_relay_interrupted_total", "Requests that ended with their link.", place
        )

    def _about_pushes(self) -> None:
        cluster = ("cluster",)
        self.pushed_open = self._gauge(
            "hotnode_pushed_streams_open",
            "Streams that functions push, or are waited for to push.",
            cluster,
            mode="livesum",
        )
        self.pushed = self._counter(
            "hotnode_pushed_streams_total",
            "Streams that functions pushed or should have, by how they ended.",
            ("cluster", "outcome"),
        )
        self.pushed_bytes = self._counter(
            "hotnode_pushed_bytes_total", "Bytes of answers that functions pushed.", cluster
        )

    def _about_lifecycles(self) -> None:
        place = ("cluster", "framework", "model")
        self.waiting = self._gauge(
            "hotnode_waiting_requests",
            "Requests that wait for an instance of their model.",
            place,
            mode="livesum",
        )
        self.cold_start = Histogram(
            "hotnode_cold_start_seconds",
            "Time that requests waited for an instance that then took them.",
            place,
            buckets=SECONDS,
            registry=self.registry,
        )
        self.agent_links = self._gauge(
            "hotnode_agent_links", "Links of sites' agents.", ("cluster",), mode="livesum"
        )

    def _about_batches(self) -> None:
        self.batches = self._gauge(
            "hotnode_batches",
            "Batches that are not over, by status.",
            ("cluster", "status"),
            mode="livemostrecent",
        )
        self.batches_ended = self._counter(
            "hotnode_batches_ended_total", "Batches that ended.", ("cluster", "status")
        )
        self.batch_lines = self._counter(
            "hotnode_batch_lines_total",
            "Lines of batches that are done, as sites reported.",
            ("cluster", "model", "outcome"),
        )

    def _about_the_catalog(self) -> None:
        self.catalog_version = self._gauge(
            "hotnode_catalog_version", "Version of the catalog in use.", (), mode="livemin"
        )
        self.catalog_checked = self._gauge(
            "hotnode_catalog_checked_timestamp_seconds",
            "When the catalog was last found to be up to date, or brought up to date.",
            (),
            mode="livemin",
        )
        self.instances = self._gauge(
            "hotnode_model_instances",
            "Instances of a model by state, as their site last reported.",
            ("cluster", "framework", "model", "state"),
            mode="livemostrecent",
        )
        self.batch_instances = self._gauge(
            "hotnode_model_batch_instances",
            "Instances of a model for batches alone by state, as their site last reported.",
            ("cluster", "framework", "model", "state"),
            mode="livemostrecent",
        )
        self.gpu_percent = self._gauge(
            "hotnode_model_gpu_percent",
            "How busy the GPUs of a model's instances are, as a mean; NaN where nobody knows.",
            ("cluster", "framework", "model"),
            mode="livemostrecent",
        )
        self.site_observed = self._gauge(
            "hotnode_site_observed_timestamp_seconds",
            "When a cluster's site last reported.",
            ("cluster",),
            mode="livemax",
        )
        self.build = self._gauge(
            "hotnode_build_info",
            "Always 1; the labels say what runs.",
            ("version", "python"),
            mode="livemax",
        )

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, labels: tuple[str, ...], *, mode: Mode) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry, multiprocess_mode=mode)
