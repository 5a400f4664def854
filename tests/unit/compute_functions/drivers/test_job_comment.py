"""The comment by which our jobs are known."""

from __future__ import annotations

import pytest

from compute_functions.drivers.job_comment import JobComment
from compute_functions.orders import new_name


@pytest.mark.parametrize("purpose", ["", "batches"])
@pytest.mark.parametrize("model", ["org/tiny", 'a;b="c d"|\n', "größe/λ", "x" * 300, "m;p=batches"])
def test_a_comment_survives_whatever_a_model_is_called(model: str, purpose: str) -> None:
    instance = new_name(model)
    comment = JobComment(instance=instance, generation=3, fence=12, model=model, purpose=purpose)

    text = str(comment)

    assert JobComment.read(text) == comment
    assert not set(text) & set(" '\"\n|#`$\\")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(null)",
        "hotnode:",
        "hotnode:i=x;g=1;f=1",
        "hotnode:i=x;g=a;f=1;m=y",
        "hotnode:i=../x;g=1;f=1;m=y",
        "hotnode:i=x;g=1;f=1;m=y z",
        "hotnode:i=x;g=1;f=1;m=y;p=",
        "hotnode:i=x;g=1;f=1;m=y;q=batches",
        f"hotnode:i={'x' * 64};g=1;f=1;m=y",
        "a hotnode:i=x;g=1;f=1;m=y",
    ],
)
def test_other_comments_are_somebody_else_s(text: str) -> None:
    assert JobComment.read(text) is None
