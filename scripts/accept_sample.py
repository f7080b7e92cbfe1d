"""Write the sample's scores as the expected ones: run it with every setting of the card's rows, write results/expected/sample.json.

python scripts/accept_sample.py
"""

from __future__ import annotations

import sys
import tempfile

from harness.commands.stages import run_sample
from harness.core.benchmarks import load_benchmark
from harness.read.selfcheck import write_expected


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        runs = list(run_sample([f"results_dir={scratch}"], load_benchmark()))
    print(f"{write_expected(runs)}: {len(runs)} settings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
