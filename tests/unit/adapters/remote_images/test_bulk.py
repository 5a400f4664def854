"""How many values a field may have before it is searched for images."""

from __future__ import annotations

import pytest

from resource_server.adapters.remote_images.bulk import MAX_VALUES, require_searchable
from resource_server.domain.errors import InvalidRequest


@pytest.mark.parametrize(
    "many",
    [
        b"[" + b"{}," * MAX_VALUES + b"1]",
        b"[" + b"0," * MAX_VALUES + b"0]",
        b"[" + b"[" * 900 + b"]" * 900 + b",0" * MAX_VALUES + b"]",
        b"[" + b'"",' * MAX_VALUES + b"0]",
        b"{" + b'"a":"b",' * MAX_VALUES + b'"c":0}',
        b'["\\\\",' + b"0," * MAX_VALUES + b"0]",
        b'["\\\\\\"",' + b"0," * MAX_VALUES + b"0]",
    ],
)
def test_a_field_of_too_many_values_is_refused(many: bytes) -> None:
    with pytest.raises(InvalidRequest, match=str(MAX_VALUES)) as refused:
        require_searchable(many, "input")
    assert refused.value.param == "input"


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"{[,]}" * MAX_VALUES + b'"',
        b'"' + b'{\\"a\\": 1}, ' * MAX_VALUES + b'"',
        b'["\\\\\\"' + b"," * 2 * MAX_VALUES + b'\\\\"]',
        b'["' + b"\\\\n," * 2 * MAX_VALUES + b'"]',
        b"[" + b'{"text":"a, b"},' * (MAX_VALUES // 3) + b"{}]",
    ],
)
def test_what_stands_in_a_text_is_no_value(text: bytes) -> None:
    require_searchable(text, "input")
