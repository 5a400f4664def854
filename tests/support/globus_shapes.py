"""Whether an answer has the shape that Globus publishes for it in `globus_sdk.testing`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from globus_sdk.testing import RegisteredResponse, get_response_set

#: Of the published fields, some say nothing about the type: any of these may stand there.
_KINDS: tuple[type | tuple[type, ...], ...] = (bool, (int, float), str, list, dict)


def published(call: object, case: str = "default") -> Any:
    """Return the JSON that Globus publishes as the answer to an SDK method."""
    response = get_response_set(call).lookup(case)
    assert isinstance(response, RegisteredResponse)
    return response.json


def assert_shaped_like(
    answer: object, expected: object, *, may_be_null: Collection[str] = ()
) -> None:
    """Fail unless the answer has every published field with a value of the published type.

    Fields named in `may_be_null` may be `null` although the published example has a value.
    """
    differences = list(_differences(answer, expected, "$", may_be_null))
    assert not differences, "\n".join(differences)


def _differences(answer: Any, expected: Any, path: str, nullable: Collection[str]) -> list[str]:
    if expected is None or (answer is None and path.rpartition(".")[2] in nullable):
        return []
    if not _same_kind(answer, expected):
        return [f"{path}: {type(answer).__name__} instead of {type(expected).__name__}"]
    if isinstance(expected, dict):
        return _in_objects(answer, expected, path, nullable)
    if isinstance(expected, list) and expected:
        return _in_lists(answer, expected[0], path, nullable)
    return []


def _in_lists(answer: list[Any], example: Any, path: str, nullable: Collection[str]) -> list[str]:
    found = [f"{path}: an empty list"] if not answer else []
    for position, item in enumerate(answer):
        found += _differences(item, example, f"{path}[{position}]", nullable)
    return found


def _in_objects(
    answer: dict[str, Any], expected: dict[str, Any], path: str, nullable: Collection[str]
) -> list[str]:
    if expected and all(map(_is_uuid, expected)):
        example = next(iter(expected.values()))
        found = [f"{path}: empty"] if not answer else []
        for key, value in answer.items():
            found += [] if _is_uuid(key) else [f"{path}: the key {key} is no UUID"]
            found += _differences(value, example, f"{path}.*", nullable)
        return found
    found = [f"{path}.{key}: missing" for key in expected if key not in answer]
    for key in set(expected) & set(answer):
        found += _differences(answer[key], expected[key], f"{path}.{key}", nullable)
    return found


def _same_kind(answer: object, expected: object) -> bool:
    kind = next(kind for kind in _KINDS if isinstance(expected, kind))
    return isinstance(answer, kind) and isinstance(answer, bool) == isinstance(expected, bool)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
