"""What may be asked for with batches and files, and with pages of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from resource_server.domain import errors, files, paging
from resource_server.domain.batch_requests import (
    BatchRequest,
    read_metadata,
    require_sound,
    window_s,
)
from resource_server.domain.files import FileRules, Purpose, Upload
from resource_server.domain.routing import Base

WEEK_S = 604_800.0
GOOD = BatchRequest(input_file_id="file-x", endpoint="/v1/chat/completions")


def refusal(**changes: Any) -> errors.InvalidRequest:
    with pytest.raises(errors.InvalidRequest) as caught:
        require_sound(replace(GOOD, **changes), longest_window_s=WEEK_S)
    return caught.value


def test_a_sound_request_lasts_a_day():
    assert require_sound(GOOD, longest_window_s=WEEK_S) == 86_400


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_path": "/a"}, "input_file_id"),
        ({"input_file_id": None, "input_path": "a.jsonl"}, "input_file"),
        ({"input_file_id": None, "input_path": "/a/"}, "input_file"),
        ({"input_file_id": None, "input_path": "/a\nb"}, "input_file"),
        ({"input_file_id": None, "input_path": "/a/.."}, "input_file"),
        ({"input_file_id": None, "input_path": "/a/."}, "input_file"),
        ({"input_file_id": None, "input_path": "/a/" + "b" * 256}, "input_file"),
        ({"input_file_id": None, "input_path": "/" + "a" * 5000}, "input_file"),
        ({"output_folder": "/out"}, "output_folder_path"),
        (
            {"input_file_id": None, "input_path": "/a", "output_folder": "out"},
            "output_folder_path",
        ),
        ({"endpoint": "/v1/images/edits"}, "endpoint"),
        ({"endpoint": "v1/completions"}, "endpoint"),
        ({"model": "a\ud800"}, "model"),
        ({"completion_window": "24"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"completion_window": "8d"}, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k": "\0"}}, "metadata"),
        ({"metadata": {"k": "\udcff"}}, "metadata"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
        ({"idempotency_key": "ä"}, "idempotency_key"),
    ],
)
def test_what_is_not_sound_is_refused_by_its_name(changes: dict[str, Any], param: str) -> None:
    assert refusal(**changes).param == param


@pytest.mark.parametrize("window", ["900d", "24", "169h"])
def test_the_units_and_the_bound_of_windows_are_told(window: str):
    with pytest.raises(errors.InvalidRequest) as refused:
        window_s(window, longest_s=7 * 86_400.0)
    assert refused.value.message == (
        "completion_window is a number of hours or days, as '24h' or '3d', up to 168 hours."
    )


def test_the_limits_themselves_are_allowed():
    full = {f"{n:02}" + "k" * 62: "v" * 512 for n in range(16)}
    most = replace(
        GOOD, metadata=full, idempotency_key="k" * 255, completion_window="7d", output_keep_s=1
    )
    assert require_sound(most, longest_window_s=WEEK_S) == WEEK_S
    assert window_s("1h", longest_s=86_400) == 3600


def test_metadata_are_texts():
    assert read_metadata(None) == {}
    assert read_metadata({"a": "b"}) == {"a": "b"}
    refused: list[Any] = [[], {"a": 1}, {"a": None}]
    for value in refused:
        with pytest.raises(errors.InvalidRequest):
            read_metadata(value)


def test_the_same_request_has_the_same_digest_and_any_other_another():
    base = Base()
    same = replace(GOOD, metadata={"a": "1", "b": "2"}, idempotency_key="x")
    assert same.digest(base) == replace(same, metadata={"b": "2", "a": "1"}).digest(base)
    others = [
        GOOD.digest(base),
        same.digest(Base(cluster="c", framework="f")),
        replace(same, completion_window="23h").digest(base),
        replace(same, model="m").digest(base),
        replace(same, fetches=True).digest(base),
        replace(same, output_keep_s=3600).digest(base),
    ]
    assert len({same.digest(base), *others}) == len(others) + 1


def test_an_upload_is_for_batches_and_has_a_name():
    found = files.read_upload(filename="C:\\data\\in.jsonl", purpose="batch", declared=7)
    assert found == Upload(filename="in.jsonl", declared=7)
    assert files.read_upload(filename="/a/b", purpose="batch").filename == "b"
    for name in (None, "", "..", "a/", "a\nb", "x" * 256):
        with pytest.raises(errors.InvalidRequest):
            files.read_upload(filename=name, purpose="batch")
    for purpose in ("fine-tune", "batch_output", None):
        with pytest.raises(errors.InvalidRequest) as caught:
            files.read_upload(filename="a", purpose=purpose)
        assert caught.value.param == "purpose"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"anchor": "created_at"},
        {"anchor": "now", "seconds": 3600},
        {"anchor": "created_at", "seconds": 3599},
        {"anchor": "created_at", "seconds": 2_592_001},
        {"anchor": "created_at", "seconds": "3600"},
        "3600",
    ],
)
def test_an_expiry_is_openai_s(value: object) -> None:
    with pytest.raises(errors.InvalidRequest):
        files.read_expiry(value, "expires_after")


def test_an_expiry_that_is_one_is_read():
    assert files.read_expiry(None, "x") is None
    assert files.read_expiry({"anchor": "created_at", "seconds": 3600}, "x") == 3600


def test_who_has_too_much_may_add_nothing():
    rules = FileRules(quota_bytes=10, quota_count=2)
    files.require_room(rules, stored_bytes=4, stored_count=1, adding=6)
    with pytest.raises(errors.FileQuotaExceeded, match="10 that are allowed"):
        files.require_room(rules, stored_bytes=4, stored_count=1, adding=7)
    with pytest.raises(errors.FileQuotaExceeded, match="2 are allowed"):
        files.require_room(rules, stored_bytes=0, stored_count=2, adding=0)


def test_ids_are_told_from_anything_else():
    assert files.is_file_id(files.new_file_id())
    output = files.output_file_id("batch_1", "output", "0" * 64)
    assert files.is_file_id(output)
    assert output == files.output_file_id("batch_1", "output", "0" * 64)
    assert output != files.output_file_id("batch_1", "errors", "0" * 64)
    assert output != files.output_file_id("batch_1", "output", "1" * 64)
    assert not files.is_file_id("file-../../../etc/passwd")
    assert "of this id" in files.no_such_file("a" * 1000).message
    assert Purpose("batch_output")


def test_pages_are_as_openai_has_them():
    assert paging.batch_paging() == paging.Paging(limit=20)
    assert paging.file_paging() == paging.Paging(limit=10_000)
    assert paging.file_paging(after="x", limit=1, order="asc") == paging.Paging(
        limit=1, after="x", newest_first=False
    )
    for limit in (0, 101, -1):
        with pytest.raises(errors.InvalidRequest):
            paging.batch_paging(limit=limit)
    with pytest.raises(errors.InvalidRequest):
        paging.file_paging(limit=10_001)
    with pytest.raises(errors.InvalidRequest):
        paging.file_paging(order="up")
