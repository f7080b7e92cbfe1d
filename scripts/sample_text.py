"""Sentences of the embedded sample: the lexicon's fields and frames, and how a text is made from them."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LEXICON = Path(__file__).with_name("sample_lexicon.yaml")
_SLOT = re.compile(r"\{(\w+)\}")
Words = dict[str, str]
"""What a text says: the word in each slot (`n1`, `v2`, `a1`, `e1` ...)."""
Rows = list[dict[str, Any]]
Tables = dict[str, Rows]
"""A task's tables (a split; `train`; `corpus`, `queries`, `qrels`) and their rows."""

HOSTILE = (
    "\U0001f600\U0001f389\U0001f44d",  # emoji: unknown to the vocabulary
    "x1y2" * 75,  # one word of 300 characters: a single unknown token
    "a-b,c." * 50,  # as long, but 300 tokens
    "\uff11\uff12\uff13\uff14\uff15",  # full-width digits
    "\x07\x1b\u200b\ufeff",  # control and invisible characters, which BERT's tokenizer drops
    "\u2028\x85\t\n",  # what str.splitlines takes for line ends
)


@dataclass(frozen=True)
class Lexicon:
    """`fields[field][kind]`: words by part of speech (`n`, `v`, `a`); `frames[genre]`: sentence patterns; `names`: characters of names."""

    fields: dict[str, dict[str, list[str]]]
    frames: dict[str, list[str]]
    names: list[str]

    @property
    def function_characters(self) -> set[str]:
        """The characters of the sentence patterns: grammar, not content."""
        return set(_SLOT.sub("", "".join(frame for frames in self.frames.values() for frame in frames)))

    def fields_of(self) -> dict[str, list[str]]:
        """The fields whose words each token with content occurs in."""
        found: dict[str, list[str]] = {}
        for field, kinds in self.fields.items():
            for token in sorted({token for words in kinds.values() for word in words for token in tokens_of(word)}):
                found.setdefault(token, []).append(field)
        return found


def tokens_of(word: str) -> list[str]:
    """A Latin word without capitals and accents, or the characters of a Chinese one: what BERT's tokenizer makes of it."""
    plain = "".join(mark for mark in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(mark))
    return [plain] if plain.islower() else list(word)


@cache
def lexicon() -> Lexicon:
    """The words of `sample_lexicon.yaml`."""
    raw = yaml.safe_load(LEXICON.read_text(encoding="utf-8"))
    fields = {name: {kind: words.split() for kind, words in kinds.items()} for name, kinds in raw["fields"].items()}
    return Lexicon(fields=fields, frames=raw["frames"], names=raw["names"].split())


def draw_words(rng: random.Random, field: str, *, goods: str | None = None) -> Words:
    """A word for every slot, none twice: content from `field`, the goods that an opinion is about (`p1`, `p2`) from `goods`."""
    words: Words = {}
    for kind, pool in lexicon().fields[field].items():
        words |= {f"{kind}{i}": word for i, word in enumerate(rng.sample(pool, len(pool)), start=1)}
    if goods is not None:
        words |= {f"p{i}": word for i, word in enumerate(rng.sample(lexicon().fields[goods]["n"], 3), start=1)}
    words |= {f"e{i}": "".join(rng.sample(lexicon().names, 3)) for i in (1, 2)}
    words["d1"] = str(rng.randrange(2, 90))
    return words


def slots(genre: str) -> list[str]:
    """The slots that the genre's frames fill (the first frame's, in order; the frames of a genre share them)."""
    return list(dict.fromkeys(_SLOT.findall(lexicon().frames[genre][0])))


def render(genre: str, words: Words, frame: int) -> str:
    """The genre's frame of that number (modulo how many it has), filled."""
    frames = lexicon().frames[genre]
    return frames[frame % len(frames)].format(**words)


def phrase(rng: random.Random, genre: str, words: Words) -> str:
    """The genre's text that says `words`, in a frame drawn at random."""
    return render(genre, words, rng.randrange(len(lexicon().frames[genre])))


def compose(rng: random.Random, genre: str, field: str, *, goods: str | None = None) -> str:
    """A new text of that genre about that field."""
    return phrase(rng, genre, draw_words(rng, field, goods=goods))


def reword(words: Words, changed: Iterable[str], source: Words) -> Words:
    """`words` with the slots `changed` taken from `source`."""
    return words | {slot: source[slot] for slot in changed}


def vary(rng: random.Random, words: Words, genre: str, changes: int, source: Words) -> Words:
    """`words` with that many of the genre's slots taken from `source`."""
    known = slots(genre)
    return reword(words, rng.sample(known, min(changes, len(known))), source)


def variants(rng: random.Random, genre: str, field: str, number: int) -> list[str]:
    """Different texts about one thing: the same words except one or two, in different frames."""
    words = draw_words(rng, field)
    found: dict[str, None] = {}
    while len(found) < number:
        found[phrase(rng, genre, vary(rng, words, genre, rng.randrange(1, 3), draw_words(rng, field)))] = None
    return list(found)


def several(rng: random.Random, genre: str, field: str, number: int) -> str:
    """A number of texts about the field, one after the other."""
    return "".join(compose(rng, genre, field) for _ in range(number))


def asides(rng: random.Random, characters: int) -> str:
    """At least that many characters of prose without content."""
    text = ""
    while len(text) < characters:
        text += rng.choice(lexicon().frames["aside"])
    return text


def long_text(rng: random.Random, head: str, tail: str, start: int) -> str:
    """`head`, then filler up to the character `start`, then `tail`: the topic of the text appears only beyond `start`."""
    return (head + asides(rng, start - len(head)))[:start] + tail


def spoil(rng: random.Random, text: str) -> str:
    """The text with something hostile behind it."""
    return text + rng.choice(HOSTILE)
