"""How clusters, models and projects may be named, and what is said of other names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator


def _spelled(pattern: str, words: str) -> AfterValidator:
    """Return what refuses a text that is spelled otherwise, in words instead of the pattern."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {words}, and begin with a letter or digit")
        return text

    return AfterValidator(check)


Name = Annotated[
    str,
    _spelled(r"[a-z0-9][a-z0-9_-]{0,63}", "1 to 64 small letters, digits, '_' and '-'"),
]
ModelId = Annotated[
    str,
    _spelled(
        r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}",
        "1 to 255 letters, digits, '.', '_', ':', '/' and '-'",
    ),
]
ProjectName = Annotated[
    str,
    _spelled(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "1 to 64 letters, digits, '.', '_' and '-'"),
]
