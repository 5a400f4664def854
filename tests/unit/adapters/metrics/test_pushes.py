from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry, generate_latest

from resource_server.adapters.metrics.instruments import Instruments
from resource_server.adapters.metrics.pushes import look_at_pushes
from resource_server.adapters.pushed_streams.traffic import Outcome, PushTraffic
from tests.support.watch import Scrape


def test_what_sites_push_is_shown_by_how_it_ended():
    registry = CollectorRegistry()
    traffic = {"a": PushTraffic(open=2, received=10), "b": PushTraffic(received=5)}
    look = look_at_pushes(Instruments(registry), lambda: traffic)
    look()
    ended = Counter({Outcome.WHOLE: 3, Outcome.CUT: 1})
    traffic["a"] = PushTraffic(open=1, received=25, ended=ended)
    look()
    page = Scrape(generate_latest(registry).decode())
    assert page.value("hotnode_pushed_streams_open", cluster="a") == 1
    assert page.value("hotnode_pushed_streams_open", cluster="b") == 0
    assert page.value("hotnode_pushed_bytes_total", cluster="a") == 25
    assert page.value("hotnode_pushed_bytes_total", cluster="b") == 5
    assert page.value("hotnode_pushed_streams_total", cluster="a", outcome="whole") == 3
    assert page.value("hotnode_pushed_streams_total", cluster="a", outcome="cut") == 1
    assert page.value("hotnode_pushed_streams_total", cluster="a", outcome="left") == 0
    assert page.value("hotnode_pushed_streams_total", cluster="b", outcome="whole") == 0
