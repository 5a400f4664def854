from __future__ import annotations

import pytest

from resource_server.api.probes import is_probe


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/resource_server/ready"])
@pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:8000", "[fd00::1]:8000", "[fd00::1]"])
def test_a_machine_is_probed_by_its_address(path, host):
    assert is_probe(path, host)


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/health", "elsewhere.example"),
        ("/health", "10.1.2.3.elsewhere.example"),
        ("/health", "10.1.2.3@elsewhere.example"),
        ("/health", "[fd00::1"),
        ("/health", "[elsewhere.example]"),
        ("/health", ""),
        ("/health", None),
        ("/health/", "10.1.2.3"),
        ("/v1/models", "10.1.2.3"),
        ("/docs", "10.1.2.3"),
    ],
)
def test_nothing_else_is_a_probe(path, host):
    assert not is_probe(path, host)
