"""Settings about images by address."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from resource_server.adapters.remote_images import ImageRules
from tests.conftest import gateway_settings


def test_lists_are_separated_by_commas(tmp_path: Path) -> None:
    settings = gateway_settings(tmp_path, images_ports="443, 8443", images_hosts="a.test,*.b.test")
    assert settings.images_ports == (443, 8443)
    assert settings.images_hosts == ("a.test", "*.b.test")


@pytest.mark.parametrize("value", [{"images_ports": "https"}, {"images_timeout_s": 0}])
def test_what_cannot_be_is_refused(tmp_path: Path, value: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        gateway_settings(tmp_path, **value)


def test_the_adapter_s_own_defaults_are_those_of_the_settings(tmp_path: Path) -> None:
    settings, rules = gateway_settings(tmp_path), ImageRules()
    assert (
        settings.images_fetch,
        settings.images_max_bytes,
        settings.images_max_request_bytes,
        settings.images_max_count,
        settings.images_timeout_s,
        settings.images_hosts,
        settings.images_ports,
    ) == (
        rules.fetch,
        rules.max_image_bytes,
        rules.max_request_bytes,
        rules.max_images,
        rules.timeout_s,
        rules.hosts,
        rules.ports,
    )
