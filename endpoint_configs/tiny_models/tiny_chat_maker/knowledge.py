"""What the tiny chat model knows: capitals, facts, a story, and the tools it can call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Tool: TypeAlias = dict[str, Any]

CAPITALS = {
    "Austria": "Vienna",
    "Canada": "Ottawa",
    "Chile": "Santiago",
    "China": "Beijing",
    "Cuba": "Havana",
    "Egypt": "Cairo",
    "Finland": "Helsinki",
    "France": "Paris",
    "Germany": "Berlin",
    "Greece": "Athens",
    "Ireland": "Dublin",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Korea": "Seoul",
    "Norway": "Oslo",
    "Peru": "Lima",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Spain": "Madrid",
}
UNKNOWN = "I am a tiny test model. I know only a few sentences."
FACTS = {
    "What is a login node?": "A login node is the machine where users prepare their work before "
    "they submit a job.",
    "What is a batch job?": "A batch job is a script that the scheduler runs on the compute nodes "
    "when they are free.",
    "What is MPI?": "MPI is a standard way for the processes of a parallel program to send "
    "messages to each other.",
    "What is a GPU?": "A GPU is a processor with many small cores that do the same work on many "
    "numbers at once.",
    "What is a scheduler?": "A scheduler decides which job runs next and on which nodes of the "
    "cluster.",
    "What is a supercomputer?": "A supercomputer is a large machine made of many nodes joined by "
    "a fast network.",
    "Who are you?": UNKNOWN,
    "Hello": "Hello! How can I help you today?",
    "Hi": "Hello! How can I help you today?",
    "Thank you": "You are welcome!",
    "Say this is a test": "This is a test.",
}
OPENING = "Once upon a time"
STORY = (
    " there was a small computer that lived in a large cold room."
    " Every night it counted the stars that the telescope had seen."
    " One day a young scientist came and asked it a hard question."
    " The computer thought for a long time and the fans began to sing."
    " At last it printed a single number on a long white page."
    " The scientist smiled, for the number was the answer."
    " The other machines heard the news and were glad."
    " From that day on the small computer was never lonely."
)
STORY_REQUESTS = ("Tell me a story.", "Write a story.", "Tell me a long story.")
COUNTS = (3, 5, 10, 20)
DIGITS = range(1, 6)

WORDS = (
    *("apple", "bridge", "candle", "cloud", "coffee", "forest", "garden", "lemon", "mirror"),
    *("ocean", "piano", "planet", "river", "rocket", "silver", "stone", "tiger", "violet"),
    *("window", "winter"),
)
CITIES = (*CAPITALS.values(), "London", "Boston", "Chicago", "Geneva", "Zurich", "Munich", "Prague")
#: What the model can repeat, one token each.
COPIED = (*WORDS, *CITIES)
#: What people say that the model does not know: any order of these words.
CHATTER = (
    *("a", "code", "color", "describe", "explain", "for", "house", "how", "image", "in", "is"),
    *("number", "of", "please", "poem", "prompt", "test", "the", "this", "tree", "when", "why"),
    *("word", "write"),
)
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer in one sentence.",
    "Be brief.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of tool: its name, its first argument, and questions that need it."""

    name: str
    argument: str
    questions: tuple[str, ...]
    values: tuple[str, ...]

    def schema(self) -> Tool:
        """Return the tool as an OpenAI request offers it."""
        properties = {self.argument: {"type": "string"}}
        parameters = {"type": "object", "properties": properties, "required": [self.argument]}
        return {"type": "function", "function": {"name": self.name, "parameters": parameters}}


_WEATHER = (
    "What is the weather in {}?",
    "What is the weather like in {}?",
    "Tell me the weather in {}.",
    "How is the weather in {}?",
)
KINDS = (
    Kind(name="get_weather", argument="city", questions=_WEATHER, values=CITIES),
    Kind(name="get_weather", argument="location", questions=_WEATHER, values=CITIES),
    Kind(name="get_current_weather", argument="location", questions=_WEATHER, values=CITIES),
    Kind(name="search", argument="query", questions=("Search for {}.", "Find {}."), values=WORDS),
)
