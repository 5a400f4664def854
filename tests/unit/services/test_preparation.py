from __future__ import annotations

import json

import pytest

from resource_server.api.form_body import FormBody
from resource_server.api.json_body import JsonBody
from resource_server.domain import errors
from resource_server.domain.catalog import NamedModel
from resource_server.services import preparation
from tests.support.catalogs import FRAMEWORKS, model

VLLM, INFINITY = FRAMEWORKS["vllm"], FRAMEWORKS["infinity"]


def under_alias(body: bytes, parameters: dict[str, object]) -> dict[str, object]:
    served = model(aliases={"short": parameters})
    named = NamedModel(model=served, alias=served.aliases[0])
    made: dict[str, object] = json.loads(preparation.under_its_id(JsonBody(body), named).content)
    return made


def test_what_the_caller_says_counts_before_the_alias():
    assert under_alias(
        b'{"model": "short", "temperature": 1}', {"temperature": 0, "top_p": 0.5}
    ) == {
        "model": "a/b",
        "temperature": 1,
        "top_p": 0.5,
    }


def test_objects_are_merged_field_by_field():
    body = b'{"model": "short", "chat_template_kwargs": {"enable_thinking": true}}'
    made = under_alias(body, {"chat_template_kwargs": {"enable_thinking": False, "x": 1}})
    assert made["chat_template_kwargs"] == {"enable_thinking": True, "x": 1}


def test_a_value_of_another_kind_stays_the_caller_s_mistake():
    made = under_alias(b'{"model": "short", "kwargs": 3}', {"kwargs": {"x": 1}})
    assert made["kwargs"] == 3


def test_a_request_by_the_model_s_id_is_not_touched():
    body = JsonBody(b'{"model": "a/b"}')
    assert preparation.under_its_id(body, NamedModel(model=model())) is body


def test_too_large_an_object_is_not_merged():
    body = b'{"model": "short", "kwargs": {"x": "%s"}}' % (b"x" * preparation.MAX_MERGED_BYTES)
    with pytest.raises(errors.InvalidRequest) as refused:
        under_alias(body, {"kwargs": {"y": 1}})
    assert refused.value.param == "kwargs"


TOKENS = [b"[1, 2]", b"[[1, 2], [3]]", b"[ -1]", b"[\n [ 1]]"]
TEXTS = [b'"text"', b'["a", "b"]', b"[]", b"null", b"[[]]", b'["1"]', b'"[1]"']


@pytest.mark.parametrize("given", TOKENS)
def test_token_numbers_for_an_engine_of_texts_get_the_way_out(given):
    body = JsonBody(b'{"model": "a/b", "input": %s}' % given)
    with pytest.raises(errors.InvalidRequest, match="check_embedding_ctx_length=False") as refused:
        preparation.require_fields(body, "embeddings", INFINITY)
    assert refused.value.param == "input"
    preparation.require_fields(body, "embeddings", VLLM)


def test_the_input_is_never_read_as_a_whole():
    class Unread(JsonBody):
        def value(self, field):
            raise AssertionError(field)

    body = Unread(b'{"model": "a/b", "input": [%s1]}' % (b"[1]," * 1000))
    with pytest.raises(errors.InvalidRequest, match="token numbers"):
        preparation.require_fields(body, "embeddings", INFINITY)


@pytest.mark.parametrize("given", TEXTS)
def test_texts_pass(given):
    body = JsonBody(b'{"model": "a/b", "input": %s}' % given)
    preparation.require_fields(body, "embeddings", INFINITY)


def test_a_form_s_reserved_fields_are_refused_too():
    content = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\na/b\r\n'
        b'--x\r\nContent-Disposition: form-data; name="cache_salt"\r\n\r\n1\r\n--x--\r\n'
    )
    body = FormBody(content, "multipart/form-data; boundary=x")
    with pytest.raises(errors.ReservedField):
        preparation.require_fields(body, "audio/transcriptions", VLLM)
