"""`batch_file`: an upload comes in pieces, once or many times; results go in pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute_functions import site_config
from compute_functions.batch_spool.pieces import Pieces
from compute_functions.batch_spool.submission import Submission
from compute_functions.contract import FailureCode, SiteFailure
from compute_functions.contract.batches import (
    MOST_PIECE,
    BatchFile,
    BatchState,
    BatchVerb,
    FileSum,
    Piece,
    PieceCall,
)
from tests.support.batch_orders import BatchSite, batch_site, lines, names, order, sum_of

INPUT = BatchFile.INPUT


def code(found: Piece | SiteFailure) -> FailureCode:
    assert isinstance(found, SiteFailure), found
    return found.code


def test_an_upload_comes_in_pieces_and_goes_on_where_it_ended(site: BatchSite) -> None:
    content = lines(40)
    site.taken(order(upload=sum_of(content)))
    assert site.piece(INPUT, 0, b"") == Piece(size=0)

    assert site.piece(INPUT, 0, content[:1000]) == Piece(size=1000)
    assert site.report().received == 1000
    assert site.piece(INPUT, 0, content[:1000]) == Piece(size=1000)
    assert site.piece(INPUT, 2000, content[2000:]) == Piece(size=1000)
    assert site.report().state is BatchState.RECEIVING

    assert site.piece(INPUT, 1000, content[1000:]) == Piece(size=len(content))
    assert site.folder().input.read_bytes() == content
    assert not site.folder().part.exists()
    assert site.report().state is BatchState.WAITING
    for offset in (0, 1000, len(content)):
        assert site.piece(INPUT, offset, content[offset:]) == Piece(size=len(content))


def test_a_field_that_the_service_sets_itself_ends_the_batch(site: BatchSite) -> None:
    site.taken(order(reserved=("messages", "priority")))
    site.upload(lines())

    told = site.report()
    assert told.state is BatchState.FAILED
    assert {(error.code, error.param) for error in told.errors} == {
        ("reserved_field", "body.messages")
    }


def test_a_line_for_what_the_model_does_not_serve_ends_the_batch(site: BatchSite) -> None:
    site.taken(order(endpoints=("/v1/completions",)))
    site.upload(lines())

    told = site.report()
    assert told.state is BatchState.FAILED
    assert [(error.code, error.line) for error in told.errors] == [
        ("invalid_url", line) for line in (1, 2, 3)
    ]
    assert told.errors[0].message.endswith("it must be one of /v1/completions")


def test_an_upload_that_is_not_what_was_sent_begins_again(site: BatchSite) -> None:
    content = lines()
    site.taken(order())

    assert code(site.piece(INPUT, 0, content[:-2] + b"!\n")) is FailureCode.BATCH_REFUSED
    assert site.report().received == 0
    site.upload(content)


def test_no_more_comes_than_was_ordered(site: BatchSite) -> None:
    site.taken(order())
    assert code(site.piece(INPUT, 0, lines() + b"x")) is FailureCode.BATCH_REFUSED
    assert site.report().received == 0


def test_who_died_at_the_last_piece_is_made_up_for(site: BatchSite) -> None:
    content = lines()
    site.taken(order())
    site.folder().part.write_bytes(content)

    assert site.piece(INPUT, len(content), b"") == Piece(size=len(content))
    assert site.folder().input.read_bytes() == content


def test_a_piece_that_comes_very_late_changes_nothing(site: BatchSite) -> None:
    """Its sender saw the file of pieces before somebody else finished it."""
    content = lines()
    site.taken(order())
    site.upload(content)
    site.folder().part.write_bytes(content[:10])

    assert site.piece(INPUT, 10, content[10:]) == Piece(size=len(content))
    assert site.report().received == len(content)
    assert site.folder().input.read_bytes() == content


def test_a_wrong_input_fails_as_soon_as_it_is_whole(site: BatchSite) -> None:
    content = lines(2) + b"no JSON\n" + lines(1)
    site.taken(order(upload=sum_of(content)))
    site.upload(content)

    told = site.report()
    assert told.state is BatchState.FAILED
    assert [(one.code, one.line) for one in told.errors] == [
        ("invalid_json", 3),
        ("duplicate_custom_id", 4),
    ]
    assert told.error_count == 2
    assert told.reason.startswith("the input cannot be used: line 3: ")
    assert told.reason.endswith(" (1 more)")
    assert (told.total, told.endpoint) == (4, "/v1/chat/completions")


def test_an_empty_input_fails_at_once(site: BatchSite) -> None:
    told = site.taken(order(upload=sum_of(b"")))
    assert (told.state, [one.code for one in told.errors]) == (BatchState.FAILED, ["empty_file"])


def test_an_input_larger_than_the_site_takes_is_refused(site: BatchSite) -> None:
    upload = FileSum(bytes=(1 << 30) + 1, sha256="0" * 64)
    failure = site.refusal(order(upload=upload, most_bytes=1 << 40))
    assert failure.code is FailureCode.BATCH_REFUSED
    assert failure.message == "the input has 1073741825 bytes, and 1073741824 are allowed"


def test_results_go_in_pieces_once_the_batch_is_over(site: BatchSite) -> None:
    site.taken(order())
    site.upload(lines())
    assert code(site.piece(BatchFile.OUTPUT, 0)) is FailureCode.BATCH_REFUSED

    folder = site.finish()
    whole = folder.output.read_bytes()
    assert site.piece(BatchFile.OUTPUT, 0) == Piece(size=len(whole), content=whole)
    assert site.piece(BatchFile.OUTPUT, 30) == Piece(size=len(whole), content=whole[30:])
    assert site.piece(BatchFile.OUTPUT, len(whole)) == Piece(size=len(whole))
    large = bytes(MOST_PIECE) + b"end"
    folder.error_lines.write_bytes(large)
    first = site.piece(BatchFile.ERRORS, 0)
    assert first == Piece(size=len(large), content=large[:MOST_PIECE])
    assert site.piece(BatchFile.ERRORS, MOST_PIECE) == Piece(size=len(large), content=b"end")
    folder.output.unlink()
    assert site.piece(BatchFile.OUTPUT, 0) == Piece(size=0)


def test_an_input_is_not_given_back_and_results_are_not_put(site: BatchSite) -> None:
    site.taken(order())
    site.upload(lines())
    site.finish()

    assert code(site.piece(INPUT, 0)) is FailureCode.BATCH_REFUSED
    assert code(site.piece(BatchFile.OUTPUT, 0, b"x")) is FailureCode.BATCH_REFUSED


def test_of_a_batch_that_is_not_there_there_are_no_files(site: BatchSite) -> None:
    for file in BatchFile:
        assert code(site.piece(file, 0, b"x")) is FailureCode.BATCH_UNKNOWN
    site.taken(order())
    site.ask(BatchVerb.FORGET, "batch_00000001")
    assert code(site.piece(BatchFile.OUTPUT, 0)) is FailureCode.BATCH_UNKNOWN


@settings(max_examples=25)
@given(
    cuts=st.lists(st.integers(0, 400), max_size=12),
    again=st.lists(st.integers(0, 11), max_size=12),
)
def test_whatever_pieces_come_in_whatever_order_the_input_is_what_was_sent(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], again: list[int]
) -> None:
    site = batch_site(tmp_path_factory.mktemp("site"))
    content = lines(3)
    wanted = order(upload=sum_of(content))
    site.spool.prepare()
    Submission(spool=site.spool, config=site_config.load(site.site)).submit(wanted)
    pieces = Pieces(site.spool)
    bounds = [*sorted({cut for cut in cuts if cut < len(content)} | {0}), len(content)]
    spans = list(pairwise(bounds))
    order_of_them = [spans[n % len(spans)] for n in again] + spans
    for start, end in order_of_them:
        call = PieceCall(batch=wanted.batch, file=INPUT, offset=start, content=content[start:end])
        assert pieces.serve(call).size <= len(content)
    assert site.folder().input.read_bytes() == content
    assert names(site.folder().path) == ["order.json", "place.json", "work"]
