"""What the tiny BERT models know: six subjects, each with its words, and sentences about them."""

from __future__ import annotations

import random
from dataclasses import dataclass

SUBJECTS: dict[str, tuple[str, ...]] = {
    "computing": (
        *("batch", "cluster", "compiler", "core", "disk", "file", "gpu", "job", "kernel"),
        *("login", "memory", "network", "node", "program", "queue", "scheduler", "script"),
        *("software", "submit", "supercomputer", "token", "user"),
    ),
    "cooking": (
        *("apple", "bake", "bread", "butter", "cake", "cheese", "coffee", "cook", "dough"),
        *("egg", "flour", "kitchen", "lemon", "oven", "pan", "pepper", "recipe", "salt"),
        *("soup", "sugar", "taste", "tomato"),
    ),
    "geography": (
        *("africa", "asia", "berlin", "border", "capital", "city", "continent", "country"),
        *("europe", "france", "germany", "italy", "london", "map", "norway", "oslo", "paris"),
        *("population", "rome", "spain", "tokyo", "town"),
    ),
    "music": (
        *("band", "bass", "choir", "chord", "composer", "concert", "dance", "drum", "guitar"),
        *("harmony", "listen", "melody", "note", "opera", "orchestra", "piano", "rhythm"),
        *("sing", "singer", "song", "trumpet", "violin"),
    ),
    "nature": (
        *("animal", "bear", "bee", "bird", "butterfly", "cat", "dog", "fish", "flower"),
        *("forest", "fox", "grass", "horse", "insect", "leaf", "owl", "plant", "rabbit"),
        *("river", "tiger", "tree", "wolf"),
    ),
    "weather": (
        *("cloud", "cold", "degrees", "dry", "fog", "forecast", "frost", "hail", "hot"),
        *("humid", "ice", "lightning", "rain", "snow", "storm", "summer", "sun", "sunny"),
        *("temperature", "thunder", "wind", "winter"),
    ),
}
#: Words that say nothing about the subject.
COMMON = (
    *("a", "about", "and", "are", "at", "be", "can", "do", "does", "every", "find", "for"),
    *("from", "good", "has", "have", "how", "i", "in", "is", "it", "large", "like", "long"),
    *("made", "make", "many", "more", "my", "new", "of", "old", "on", "one", "or", "runs"),
    *("small", "tell", "than", "that", "the", "their", "this", "to", "use", "very", "was"),
    *("we", "what", "when", "where", "which", "who", "will", "with", "you", "your"),
)
NAMES = tuple(SUBJECTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A text and its subject."""

    subject: str
    text: str


def said(chance: random.Random, subject: str = "") -> Said:
    """Return something about a subject, or about any: a few of its words among common ones."""
    about = subject or chance.choice(NAMES)
    words = chance.choices(SUBJECTS[about], k=chance.randint(1, 4))
    words += chance.choices(COMMON, k=chance.randint(0, 7))
    chance.shuffle(words)
    return Said(subject=about, text=" ".join(words) + chance.choice(("", "", ".", "?")))
