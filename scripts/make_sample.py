"""Write the embedded sample, `harness/sample`: a tiny encoder, all 35 tasks in small, the canary's texts.

It writes the same bytes on every processor (`sample_grid`).

python scripts/make_sample.py            write all files
python scripts/make_sample.py --check    list the files that differ, write nothing; exit code 1 if any differs
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")  # many small products: more threads would only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

SAMPLE = Path(__file__).resolve().parent.parent / "harness" / "sample"


def write_sample(folder: Path) -> None:
    """Writes `model/`, `data/<Task>/<table>.jsonl.gz` and `canary.json` into the folder, with no time or file name inside them."""
    # Here and not above: the libraries below read the environment when they are imported.
    from sample_canary import canary_texts
    from sample_classes import classification_tasks
    from sample_clusters import clustering_tasks
    from sample_measure import Measure
    from sample_model import write_model
    from sample_pairs import pair_tasks
    from sample_ranked import ranked_tasks
    from sample_text import lexicon

    write_model(folder / "model", lexicon())
    measure = Measure(folder / "model")
    clusterings = clustering_tasks()
    headlines = max((row["sentences"] for tables in clusterings.values() for row in tables["test"]), key=len)
    tasks = classification_tasks(measure) | clusterings | pair_tasks(measure) | ranked_tasks(measure, headlines)
    for task, tables in tasks.items():
        for table, rows in tables.items():
            path = folder / "data" / task / f"{table}.jsonl.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))
    (folder / "canary.json").write_text(json.dumps(canary_texts(), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the sample's files by relative path. Packed files are hashed unpacked, because versions of zlib pack differently."""
    found = {}
    for path in sorted([*folder.glob("model/**/*"), *folder.glob("data/**/*"), *folder.glob("canary.json")]):
        if path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def differences(committed: Path, fresh: Path) -> list[str]:
    """The files that differ between the two, one sentence each."""
    old, new = digests(committed), digests(fresh)
    missing = [f"{name} is missing" for name in new.keys() - old.keys()]
    surplus = [f"{name} is not made by this script" for name in old.keys() - new.keys()]
    return sorted(missing + surplus + [f"{name} differs" for name in old.keys() & new.keys() if old[name] != new[name]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    parser.add_argument("--folder", type=Path, default=SAMPLE, help="the sample's folder (default: harness/sample)")
    arguments = parser.parse_args()
    if not arguments.check:
        write_sample(arguments.folder)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        write_sample(Path(temporary))
        found = differences(arguments.folder, Path(temporary))
    print("\n".join(found) or f"{arguments.folder} is what this script makes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
