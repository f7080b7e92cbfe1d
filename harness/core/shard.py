"""A part of a run's texts: `shard=3/16`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from harness.core.errors import RequestError


@dataclass(frozen=True)
class Shard:
    """Part `number` (1 to `of`). Which part a text is in depends on the text alone, so a lost part is encoded again by its name."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that is written `3/16`.

        Raises:
            RequestError: it is written in another way, or there is no such part.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise RequestError(f"shard={text}: give the number of a part and how many there are: shard=3/16 (parts are 1/16 to 16/16)")
        return cls(int(found[1]), int(found[2]))

    def has(self, text: str) -> bool:
        """Whether the text is in this part: its 64-bit BLAKE2b hash modulo the number of parts."""
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"
