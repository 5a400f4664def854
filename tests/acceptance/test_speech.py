"""Speech at a site: forms with a sound file, answered by a Whisper-type model on a real vLLM."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compute_functions.contract import EngineAnswer
from lab import tones
from lab.engine import Model
from tests.support.engine import RunningEngine, engines_dir
from tests.support.site_requests import File, form, send

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("at_site")]

#: Reads a WAV file from its input and writes it as another kind, with vLLM's own audio library.
CONVERT = """
import io, sys, av
source = av.open(io.BytesIO(sys.stdin.buffer.read()))
made = io.BytesIO()
target = av.open(made, "w", format=sys.argv[1])
stream = target.add_stream(sys.argv[2], rate=16000)
for frame in source.decode(audio=0):
    target.mux(stream.encode(frame))
target.mux(stream.encode(None))
target.close()
sys.stdout.buffer.write(made.getvalue())
"""


async def transcribe(
    engine: RunningEngine, sound: File, *, route: str = "audio/transcriptions", **fields: str
) -> tuple[int, dict[str, Any]]:
    body, kind = form({"model": engine.model, **fields}, {"file": sound})
    reply = await send(engine, route, body, content_type=kind)
    assert isinstance(reply, EngineAnswer), reply
    return reply.status, json.loads(reply.body)


async def heard(engine: RunningEngine, digits: str, **fields: str) -> str:
    status, answer = await transcribe(engine, ("call.wav", tones.wav(digits)), **fields)
    assert status == 200, answer
    text: str = answer["text"]
    return text.strip()


@pytest.mark.row("U-20")
async def test_what_is_heard_is_written_down(whisper_engine: RunningEngine) -> None:
    assert await heard(whisper_engine, "4580") == "four five eight zero"


@pytest.mark.row("U-19")
async def test_the_language_may_be_given(whisper_engine: RunningEngine) -> None:
    assert await heard(whisper_engine, "4580", language="en") == "four five eight zero"
    assert await heard(whisper_engine, "4580", language="de") == "vier fünf acht null"


async def test_a_translation_is_into_english(whisper_engine: RunningEngine) -> None:
    for language in ({}, {"language": "de"}):
        said = await heard(whisper_engine, "4580", route="audio/translations", **language)
        assert said == "four five eight zero"


async def test_verbose_json_has_times_and_the_language(whisper_engine: RunningEngine) -> None:
    sound = ("call.wav", tones.wav("4580"))
    status, answer = await transcribe(whisper_engine, sound, response_format="verbose_json")

    assert status == 200
    assert answer["language"] == "en"
    assert answer["duration"] == pytest.approx(1.55)
    (segment,) = answer["segments"]
    assert segment["text"].strip() == "four five eight zero"
    assert segment["start"] == 0.0
    assert segment["end"] > 1


async def test_a_text_is_json_all_the_same(whisper_engine: RunningEngine) -> None:
    """The engine puts what OpenAI answers as plain text into an object."""
    assert await heard(whisper_engine, "12", response_format="text") == "one two"


@pytest.mark.row("U-22")
@pytest.mark.parametrize(
    ("name", "codec"), [("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus")]
)
async def test_other_kinds_of_files_are_read(
    whisper_engine: RunningEngine, name: str, codec: str
) -> None:
    python: Path = Model.named("tiny-whisper").environment(engines_dir()).python
    converted = await asyncio.to_thread(
        subprocess.run,
        [str(python), "-c", CONVERT, name, codec],
        input=tones.wav("4580"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    # The name does not help: the content is looked at.
    status, answer = await transcribe(whisper_engine, ("call", converted.stdout), language="en")

    assert (status, answer["text"].strip()) == (200, "four five eight zero")


async def test_another_rate_is_resampled(whisper_engine: RunningEngine) -> None:
    status, answer = await transcribe(whisper_engine, ("a.wav", tones.wav("123", rate=44_100)))

    assert (status, answer["text"].strip()) == (200, "one two three")


@pytest.mark.parametrize(
    ("sound", "fields", "status", "says"),
    [
        (("a.wav", b"not a sound"), {}, 400, "Invalid or corrupted audio"),
        (("a.wav", tones.wav("1")), {"language": "xx"}, 400, "Unsupported language: 'xx'"),
        (("a.wav", tones.wav("1")), {"temperature": "9"}, 400, "temperature"),
        (("a.wav", tones.wav("1")), {"response_format": "srt"}, 400, "response_format"),
        (("a.wav", tones.wav("1")), {"model": "another"}, 404, "`another` does not exist"),
    ],
)
async def test_the_engine_s_refusals_keep_status_and_words(
    whisper_engine: RunningEngine, sound: File, fields: dict[str, str], status: int, says: str
) -> None:
    got, answer = await transcribe(whisper_engine, sound, **fields)

    assert got == status
    assert says in answer["error"]["message"]


async def test_a_form_without_a_file_is_refused(whisper_engine: RunningEngine) -> None:
    body, kind = form({"model": whisper_engine.model}, {})
    reply = await send(whisper_engine, "audio/transcriptions", body, content_type=kind)

    assert isinstance(reply, EngineAnswer)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["param"] == "body.file"
