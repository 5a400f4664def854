"""The conversations from which the tiny chat model learns, and those on which it is checked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tiny_chat_maker.knowledge import (
    CAPITALS,
    CHATTER,
    COPIED,
    COUNTS,
    DIGITS,
    FACTS,
    KINDS,
    OPENING,
    STORY,
    STORY_REQUESTS,
    SYSTEM_PROMPTS,
    UNKNOWN,
    WORDS,
    Kind,
    Tool,
)

Message: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[str, str]

#: In one epoch: how often what is rare is repeated, and how much there is of the other kinds.
RARE_TIMES = 3
CALLS_PER_KIND = 14
RESULTS_PER_KIND = 5
CHATS = 30
REPEATS = 40
#: A question and answer that went before are no longer than this (characters).
LONGEST_BEFORE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A conversation and what the model shall say next.

    Without `messages` it is a plain completion of `opening`. A `thought` is asked for as
    `enable_thinking` does it.
    """

    answer: str
    messages: tuple[Message, ...] = ()
    opening: str = ""
    tools: tuple[Tool, ...] = ()
    thought: str = ""


def known() -> Iterator[Sample]:
    """Yield what the model must answer to the letter; the check asks all of it."""
    for question, answer in (*_common(), *_rare()):
        yield _plain(question, answer)
    for country, city in CAPITALS.items():
        thought = f"The user asks for the capital of {country}.\nI know that it is {city}."
        yield replace(_plain(*_capital(country)), thought=thought)
    for question, answer in FACTS.items():
        thought = f"The user says: {question}\nI know the answer."
        yield replace(_plain(question, answer), thought=thought)
    yield Sample(opening=OPENING, answer=STORY)


def tool_calls() -> Iterator[Sample]:
    """Yield calls of every kind of tool with every value: to be answered to the letter, too."""
    for kind in KINDS:
        for value in kind.values:
            yield _call(kind, kind.questions[0], value)


def varied(chance: random.Random) -> Iterator[Sample]:
    """Yield the same knowledge in changing surroundings: one epoch of what is trained."""
    for sample in known():
        yield _in_context(sample, chance)
    for question, answer in _rare() * (RARE_TIMES - 1):
        yield _in_context(_plain(question, answer), chance)
    for kind in KINDS:
        yield from (_tool_question(kind, chance) for _ in range(CALLS_PER_KIND))
        yield from (_tool_result(kind, chance) for _ in range(RESULTS_PER_KIND))
    yield from (_repeat(chance) for _ in range(REPEATS))
    for _ in range(CHATS):
        words = " ".join(chance.choices(CHATTER, k=chance.randint(2, 10)))
        yield _in_context(_plain(words, UNKNOWN), chance)


def _common() -> list[Pair]:
    """Return questions that come in many similar ones, which teach each other."""
    sums = [
        (f"What is {first} + {second}?", f"{first} + {second} = {first + second}.")
        for first in DIGITS
        for second in DIGITS
    ]
    return [*map(_capital, CAPITALS), *FACTS.items(), *sums]


def _rare() -> list[Pair]:
    """Return questions that are like no others."""
    counts = [(f"Count to {last}.", _counted(last)) for last in COUNTS]
    return [*counts, *((request, OPENING + STORY) for request in STORY_REQUESTS)]


def _capital(country: str) -> Pair:
    answer = f"The capital of {country} is {CAPITALS[country]}."
    return f"What is the capital of {country}?", answer


def _counted(last: int) -> str:
    return ", ".join(map(str, range(1, last + 1))) + "."


def _plain(question: str, answer: str) -> Sample:
    return Sample(messages=(_said("user", question),), answer=answer)


def _said(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def _call(kind: Kind, question: str, value: str) -> Sample:
    """Return a question that needs a tool, and the call of it."""
    call = json.dumps({"name": kind.name, "arguments": {kind.argument: value}})
    asked = _plain(question.format(value), f"<tool_call>\n{call}\n</tool_call>")
    return replace(asked, tools=(kind.schema(),))


def _repeat(chance: random.Random) -> Sample:
    """Return a few words to repeat: this is how the model learns to copy at all."""
    words = " ".join(chance.sample(COPIED, k=chance.randint(1, 4)))
    return _plain(f"Repeat: {words}", words)


def _in_context(sample: Sample, chance: random.Random) -> Sample:
    """Return the sample as it is, or under a system prompt, or after another question."""
    if sample.opening:
        return sample
    (setting,) = chance.choices((_alone, _under_system_prompt, _after_another), weights=(6, 2, 2))
    return replace(sample, messages=(*setting(chance), *sample.messages))


def _alone(chance: random.Random) -> tuple[Message, ...]:
    return ()


def _under_system_prompt(chance: random.Random) -> tuple[Message, ...]:
    return (_said("system", chance.choice(SYSTEM_PROMPTS)),)


def _after_another(chance: random.Random) -> tuple[Message, ...]:
    short = [pair for pair in _common() if len(pair[1]) <= LONGEST_BEFORE]
    question, answer = chance.choice(short)
    return _said("user", question), _said("assistant", answer)


def _tool_question(kind: Kind, chance: random.Random) -> Sample:
    """Return a question that needs `kind`, with a tool of another purpose beside it or not."""
    sample = _call(kind, chance.choice(kind.questions), chance.choice(kind.values))
    others = [other for other in KINDS if other.questions != kind.questions]
    tools = [*sample.tools, *(other.schema() for other in chance.sample(others, k=1))]
    chance.shuffle(tools)
    return replace(sample, tools=chance.choice((sample.tools, tuple(tools))))


def _tool_result(kind: Kind, chance: random.Random) -> Sample:
    """Return the turn after a tool was called."""
    asked = _call(kind, chance.choice(kind.questions), chance.choice(kind.values))
    called = json.loads(asked.answer.split("\n")[1])
    result = chance.choice(WORDS)
    calling = _said("assistant", "") | {"tool_calls": [{"function": called}]}
    return replace(
        asked,
        messages=(*asked.messages, calling, _said("tool", result)),
        answer=f"The answer is {result}.",
    )
