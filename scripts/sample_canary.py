"""The canary's texts. They have few lengths, so a GPU runs few batch shapes, and contain letters and digits, which every vocabulary has."""

from __future__ import annotations

import random
import string

from sample_text import HOSTILE, compose, lexicon

SEED = 256
PROSE = {6: 60, 14: 96, 30: 24, 46: 6, 62: 4, 94: 2, 126: 2, 254: 1, 510: 1, 1100: 1}
"""Chinese texts by characters, which BERT's tokenizers make as many tokens of; the longest is cut by every `max_len` of the card."""
CODES = {6: 29, 14: 20, 30: 4}
"""Texts of single letters, of either case, and digits, by tokens: a tokenizer that knows no Chinese character still tells them apart."""
GENRES = ("abstract", "answer", "passage", "report")  # without numbers: tokenizers make one token of them or several


def canary_texts() -> list[str]:
    """256 different texts, the same every time, in an order that mixes lengths."""
    rng = random.Random(SEED)
    texts = [_prose(rng, length) for length, number in PROSE.items() for _ in range(number)]
    texts += [_code(rng, length) for length, number in CODES.items() for _ in range(number)]
    texts += [_prose(rng, 14) + hostile for hostile in HOSTILE]
    rng.shuffle(texts)
    if len(set(texts)) != 256:
        raise ValueError(f"{len(set(texts))} different texts instead of 256: choose another SEED")
    return texts


def _prose(rng: random.Random, characters: int) -> str:
    """Sentences about one field, cut to a number of characters."""
    genre, field = rng.choice(GENRES), rng.choice(list(lexicon().fields))
    text = ""
    while len(text) < characters:
        text += compose(rng, genre, field)
    return text[:characters]


def _code(rng: random.Random, tokens: int) -> str:
    return " ".join(rng.choice(string.ascii_letters + string.digits) for _ in range(tokens))
