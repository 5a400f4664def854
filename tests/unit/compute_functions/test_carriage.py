"""What of an answer's headers comes back from a site."""

from __future__ import annotations

from compute_functions import carriage


def test_a_header_that_is_none_is_left_out() -> None:
    said = {"content-type": "text/plain", "retry-after": "1\x85", "server": "uvicorn"}

    assert carriage.response_headers(said) == {"content-type": "text/plain"}
