"""One request of a batch: a line of the input, checked field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from batch import remote_images
from batch.json_line import JsonObject, NotJson, read_object
from batch.line_error import LineError
from batch.rules import Rules
from batch.splitting import RawLine

MOST_CUSTOM_ID = 512
#: So much of a wrong value is told (characters).
_TOLD = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that can be sent."""

    number: int
    custom_id: str
    url: str
    body: JsonObject

    @property
    def model(self) -> str:
        """The model that it names."""
        model: str = self.body["model"]
        return model


def parse_line(raw: RawLine, rules: Rules) -> Line | tuple[LineError, ...]:
    """Return the line, or all that is wrong with it by itself."""
    if raw.length > rules.most_line_bytes:
        message = f"the line has {raw.length} bytes; at most {rules.most_line_bytes} are taken"
        return (LineError(code="line_too_long", message=message, line=raw.number),)
    try:
        values = read_object(raw.content)
    except NotJson as error:
        cut = error.cut and not raw.ended
        return (_cut(error, raw.number) if cut else _not_json(error, raw.number),)
    errors = tuple(_mistakes(values, rules, raw.number))
    if errors:
        return errors
    return Line(
        number=raw.number,
        custom_id=values["custom_id"],
        url=values["url"],
        body=values["body"],
    )


def count_inputs(body: JsonObject) -> int:
    """Return how many embeddings a body asks for: a text or a list of tokens is one.

    What no engine takes counts as one as well: the engine will say so.
    """
    found = body.get("input")
    if isinstance(found, list) and found and not isinstance(found[0], int | float):
        return len(found)
    return 1


def _not_json(error: NotJson, number: int) -> LineError:
    return LineError(code=error.code, message=error.message, line=number)


def _cut(error: NotJson, number: int) -> LineError:
    message = f"the last line breaks off: {error.message}, and no line end"
    return LineError(code="truncated", message=message, line=number)


def _mistakes(values: JsonObject, rules: Rules, number: int) -> Iterator[LineError]:
    """Yield what is wrong with the fields of one line."""
    found = (
        _custom_id_mistake(values),
        _method_mistake(values),
        _url_mistake(values, rules),
        *_body_mistakes(values, rules),
    )
    for code, message, param in filter(None, found):
        yield LineError(code=code, message=message, line=number, param=param)


#: A code, what is wrong, and the field; None for nothing.
_Mistake = tuple[str, str, str] | None


def _custom_id_mistake(values: JsonObject) -> _Mistake:
    field = "custom_id"
    if field not in values:
        return "missing_custom_id", "there is no custom_id", field
    value = values[field]
    if not isinstance(value, str):
        return "invalid_custom_id", f"custom_id is {_told(value)}, not a string", field
    if not value:
        return "invalid_custom_id", "custom_id is empty", field
    if len(value) > MOST_CUSTOM_ID:
        told = f"custom_id has {len(value)} characters; at most {MOST_CUSTOM_ID} are taken"
        return "invalid_custom_id", told, field
    return None


def _method_mistake(values: JsonObject) -> _Mistake:
    method = values.get("method")
    if method == "POST":
        return None
    told = "there is no method" if "method" not in values else f"method is {_told(method)}"
    return "invalid_method", f'{told}; it must be "POST"', "method"


def _url_mistake(values: JsonObject, rules: Rules) -> _Mistake:
    url = values.get("url")
    if "url" not in values:
        return "invalid_url", "there is no url", "url"
    if not isinstance(url, str) or url not in rules.endpoints:
        known = ", ".join(sorted(rules.endpoints))
        return "invalid_url", f"url is {_told(url)}; it must be one of {known}", "url"
    if rules.endpoint not in {None, url}:
        return "mixed_urls", f"url is {_told(url)}; the batch's is {rules.endpoint}", "url"
    return None


def _body_mistakes(values: JsonObject, rules: Rules) -> Iterator[_Mistake]:
    if "body" not in values:
        yield "missing_body", "there is no body", "body"
        return
    body = values["body"]
    if not isinstance(body, dict):
        yield "missing_body", f"body is {_told(body)}, not an object", "body"
        return
    yield _model_mistake(body, rules)
    # Engines read 1 and "true" as true, too.
    if body.get("stream") not in (None, False):
        yield "streaming_not_supported", "a batch's answers are not streamed", "body.stream"
    for field in sorted(rules.reserved.intersection(body)):
        yield "reserved_field", f"{_told(field)} is set by the service", f"body.{field}"
    yield None if rules.remote_images else _remote_image_mistake(body)


def _model_mistake(body: JsonObject, rules: Rules) -> _Mistake:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        told = "body has no model" if model is None else f"model is {_told(model)}"
        return "missing_model", told, "body.model"
    if rules.model not in {None, model}:
        told = f"model is {_told(model)}; the batch's is {_told(rules.model)}"
        return "mismatched_model", told, "body.model"
    return None


def _remote_image_mistake(body: JsonObject) -> _Mistake:
    found = remote_images.address_in(body)
    if found is None:
        return None
    field, address = found
    told = f"{_told(address)} would have to be fetched; give images as data: URLs"
    return "remote_image", told, f"body.{field}"


def _told(value: object) -> str:
    """Return a value of the file in a few words."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value[:_TOLD]) if isinstance(value, str) else repr(value)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"
