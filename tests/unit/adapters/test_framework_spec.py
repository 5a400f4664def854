from __future__ import annotations

import pytest
from pydantic import ValidationError

from resource_server.adapters.catalog_spec import FrameworkSpec
from resource_server.domain.catalog import StreamUsage


@pytest.mark.parametrize(
    ("name", "said", "usage"),
    [
        ("vllm", None, StreamUsage.CONTINUOUS),
        ("vllm-cpu", None, StreamUsage.CONTINUOUS),
        ("llama", None, StreamUsage.FINAL),
        ("vllm", "none", StreamUsage.NONE),
        ("llama", "continuous", StreamUsage.CONTINUOUS),
    ],
)
def test_what_an_engine_says_of_usage_is_known_by_its_name_or_told(name, said, usage):
    spec = FrameworkSpec.model_validate({"stream_usage": said} if said else {})
    assert spec.to_domain(name).stream_usage is usage


def test_another_word_is_a_mistake():
    with pytest.raises(ValidationError):
        FrameworkSpec.model_validate({"stream_usage": "sometimes"})


def test_prefixes_of_people_are_kept_apart_where_it_is_said():
    assert not FrameworkSpec().to_domain("vllm").cache_salt
    assert FrameworkSpec(cache_salt=True).to_domain("vllm").cache_salt
