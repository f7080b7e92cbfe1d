"""The parts of a card that are no numbers: its sentences and its code blocks, each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([\w+-]*)")
# A clause is the smallest unit that a claim is made in; a dot ends one only before a space, or v1.5 would be two.
_CLAUSE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b\uff0c!?;\n]|,(?=\s)|\.(?=\s|$)")
_SENTENCE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b!?;\n]|\.(?=\s|$)")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `line`: that of its first line of code in the card."""

    line: int
    language: str
    code: str


@dataclass(frozen=True)
class Document:
    """A card's prose, by line number, and its code blocks; front matter, tables and markup of images are in neither."""

    prose: tuple[tuple[int, str], ...]
    blocks: tuple[CodeBlock, ...]

    def sentences(self) -> list[tuple[int, str]]:
        """Every sentence with its line."""
        return [(number, part) for number, line in self.prose for part in _split(_SENTENCE_ENDS, line)]

    def clauses(self) -> list[tuple[int, str]]:
        """Every part of a sentence between punctuation marks, with its line."""
        return [(number, part) for number, line in self.prose for part in _split(_CLAUSE_ENDS, line)]


def parse_document(text: str) -> Document:
    """The prose and the code of a card."""
    prose: list[tuple[int, str]] = []
    blocks: list[CodeBlock] = []
    lines = text.splitlines()
    number = _after_front_matter(lines)
    while number < len(lines):
        line = lines[number]
        fence = _FENCE.match(line)
        if fence:
            end = next((i for i in range(number + 1, len(lines)) if lines[i].strip().startswith(fence[1])), len(lines))
            blocks.append(CodeBlock(number + 2, fence[2].lower(), "\n".join(lines[number + 1 : end])))
            number = end
        elif line.strip() and not line.lstrip().startswith(("|", "!", "<")):
            prose.append((number + 1, re.sub(r"\]\([^)]*\)", "]", line)))
        number += 1
    return Document(tuple(prose), tuple(blocks))


def _after_front_matter(lines: list[str]) -> int:
    if not lines or lines[0].strip("\ufeff \t") != "---":
        return 0
    return next((i + 1 for i in range(1, len(lines)) if lines[i].rstrip() == "---"), 0)


def _split(ends: re.Pattern[str], line: str) -> list[str]:
    return [part.strip() for part in ends.split(line) if part.strip()]
