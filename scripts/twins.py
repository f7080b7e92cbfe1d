"""Write the table of docs/twins.md: a tiny random model of each architecture, against sentence-transformers, bit by bit and by distance.

python scripts/twins.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from tiny_models import TWINS, build_model  # noqa: E402
from twins import DTYPES, MAX_LEN, TEXTS, Twin, measure  # noqa: E402

HEAD = """# Twins
Made by `python scripts/twins.py`; `tests/test_twins.py` checks the same. Each row is a tiny random model (2 layers) of an architecture,
run by the kind `canonical` on a CPU.

*Differing* counts vectors with other bits when the same texts come in another order and in other calls, in batches of one length, in padded
batches and, where the architecture has them, in packs of all lengths. *Distance* is the length of the difference to
`SentenceTransformer.encode` in fp32 (batches of 8, the tokenizer's own padding side), of vectors of length 1: the farthest of {texts} texts
of up to {longest} tokens, among them empty ones, emoji and texts that are cut.

| architecture | type | pooling | padding | attention | packs | differing | distance, fp32 | distance, bf16 |
|---|---|---|---|---|---|---:|---:|---:|
"""


def main() -> None:
    rows = []
    for name, arguments in TWINS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = build_model(Path(scratch), **arguments)
            rows.append(row(name, arguments, [measure(folder, dtype=dtype) for dtype in DTYPES]))
            print(rows[-1], flush=True)
    (ROOT / "docs" / "twins.md").write_text(HEAD.format(texts=len(TEXTS), longest=MAX_LEN) + "\n".join(rows) + "\n", encoding="utf-8")


def row(name: str, arguments: dict[str, object], twins: list[Twin]) -> str:
    first = twins[0]
    cells = [name, first.type, arguments["pooling"], arguments.get("padding_side", "right"), first.masking]
    cells.append("yes" if "packed" in first.ladders else "no")
    cells += [
        f"{sum(twin.differing for twin in twins)} of {sum(twin.compared for twin in twins)}",
        *(f"{twin.distance:.1e}" for twin in twins),
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
