"""The tiny models are made on somebody's machine, and say nothing of where things are there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "endpoint_configs" / "tiny_models"
#: A tokenizer may know `/` and words with one in them; a path begins with it, or comes after this.
PLACE = re.compile(r"""(^|[\s"'=:(])/\w""")


def strings(value: object) -> Iterator[str]:
    """Yield every string in a JSON value, the names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from strings(item)


def places(value: object) -> list[str]:
    return [said for said in strings(value) if PLACE.search(said)]


@pytest.mark.parametrize(
    "value", ["/opt/tiny", {"_name_or_path": "/root"}, [{"made": "python --out=/home/me"}]]
)
def test_a_place_is_found(value: object) -> None:
    assert len(places(value)) == 1


def test_no_file_names_a_place_of_the_machine_that_made_it() -> None:
    files = sorted(MODELS.rglob("*.json"))
    found = {
        str(file.relative_to(MODELS)): said
        for file in files
        if (said := places(json.loads(file.read_text(encoding="utf-8"))))
    }

    assert files
    assert found == {}
