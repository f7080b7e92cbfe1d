"""A finished run is answered without torch, and only where it is finished by everything that this installation knows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from records import run_here

from harness.core.run_files import CANARY, MANIFEST
from harness.evaluate import prepared
from harness.evaluate.prepared import finished_run

ASK_AGAIN = """
import sys
from harness.commands import main
HEAVY = {"torch", "transformers", "sentence_transformers", "huggingface_hub", "mteb", "pandas"}
code = main(sys.argv[1:])
print(sorted({name.partition(".")[0] for name in sys.modules} & HEAVY), code)
"""


@pytest.fixture(scope="module")
def request_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    root = tmp_path_factory.mktemp("finished")
    places = [f"store={root / 'store'}", f"results_dir={root / 'results'}"]
    overrides = ["model=sample", "data=sample", "gpu=cpu", "tasks=[Ocnli,STSB]", *places]
    return overrides, run_here(overrides).folder


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_GPU_FILES", ())


def test_a_finished_run_is_answered_without_torch(request_and_folder: tuple[list[str], Path]) -> None:
    overrides, folder = request_and_folder
    if any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")):
        pytest.skip("this machine may have a GPU, so torch has to look")
    done = subprocess.run([sys.executable, "-c", ASK_AGAIN, "run", *overrides, "--quiet"], capture_output=True, text=True, check=True)
    assert f"0 computed, 2 found done, 0 failed; records in {folder}" in done.stdout.replace("\n   ", " ")
    assert done.stdout.splitlines()[-1] == "[] 0"


def changed(path: Path, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = json.loads((folder / path).read_text(encoding="utf-8"))
        change(values["harness"])
        (folder / path).write_text(json.dumps(values), encoding="utf-8")

    return apply


STALE: dict[str, Callable[[Path], None]] = {
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "no vectors of the canary": lambda folder: (folder / CANARY).unlink(),
    "a task without a record": lambda folder: (folder / "STSB.json").unlink(),
    "a task without examples": lambda folder: (folder / "per_example" / "STSB.parquet").unlink(),
    "other code": changed(Path("STSB.json"), lambda made: made["code"].update(encoding="0" * 64)),  # type: ignore[attr-defined]
    "other weights": changed(Path("STSB.json"), lambda made: made["model"].update(weights_digest="0" * 64)),  # type: ignore[attr-defined]
    "other packages": changed(Path("STSB.json"), lambda made: made["versions"].update(torch="2.0")),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("stale", STALE)
def test_whatever_a_run_would_do_again_is_not_finished(request_and_folder: tuple[list[str], Path], stale: str) -> None:
    overrides, folder = request_and_folder
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = finished_run(overrides)
    assert found is not None
    assert (found.spec.folder, found.outcome().reused) == (folder, ("Ocnli", "STSB"))
    STALE[stale](folder)
    assert finished_run(overrides) is None
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize("more", [["tasks=[Ocnli,STSB,BQ]"], ["max_len=256"], ["overwrite=true"], ["shard=1/2"], ["data.source=x"]])
def test_another_request_is_left_to_the_run(request_and_folder: tuple[list[str], Path], more: list[str]) -> None:
    assert finished_run([*request_and_folder[0], *more]) is None


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["run", "model=./nowhere", "data=sample"], "model folder {here}/nowhere is missing: set model.path=DIR"),
        (["run", "model=.", "data=sample"], "{here} has no modules.json"),
        (["run", "model=sample", "data=sample", "gpu=a100"], "gpu=a100 expects a device named 'A100'"),
        (["score", "nowhere", "benchmark=cmn_v1"], "there is no nowhere: name a run folder"),
        (["probe", "nowhere"], "no run at nowhere"),
        (["sweep", "dtpye=fp16,bf16"], "unknown key 'dtpye'"),
        (["plan", "dtype=fp61"], "dtype=fp61: Invalid value"),
    ],
)
def test_what_can_not_run_is_named_without_torch(tmp_path: Path, words: list[str], answer: str) -> None:
    if any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")):
        pytest.skip("this machine may have a GPU, so torch has to look")
    done = subprocess.run([sys.executable, "-c", ASK_AGAIN, *words], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] in ("[] 1", "[] 2")
    assert f"error: {answer.format(here=tmp_path.resolve())}" in done.stderr


def test_where_torch_may_see_a_gpu_it_has_to_look(request_and_folder: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "_GPU_FILES", ("/dev/null",))
    monkeypatch.setattr(prepared.metadata, "version", lambda _: "2.13.0+cu126")
    assert finished_run(request_and_folder[0]) is None
