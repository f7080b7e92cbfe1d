"""Every reader takes thousands of damaged files: what comes out is a value, or one error that names the file. Never another exception.

`FUZZ_SEED=7 pytest -m slow tests/test_fuzz.py` tries other damage than the run before; a failure prints what gives it again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from cards import card_text, write_card
from fakehub import FakeHub, commit_of, gzipped, json_lines, parquet, running
from gates import gate_run
from runs import BENCHMARK
from test_data_layouts import columns, delimited, zstd
from test_data_local import STS_ROWS, write
from test_typed import KINDS, make_calibration, make_import, make_log, make_mirror

from harness.core.benchmarks import load_benchmark
from harness.core.calibration import read_calibration
from harness.core.config import resolve_request
from harness.core.costs import COSTS, Cost, CostLine, append_cost, read_costs
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.examples import make_examples as examples_table
from harness.core.examples import read_examples, write_examples
from harness.core.files import open_regular, open_to_append, sha256_file, write_json
from harness.core.prompts import prompts_from
from harness.core.resources import SAMPLE_DIR, resource_dir
from harness.core.run_files import read_run
from harness.core.spec import DataSpec, ModelSpec
from harness.data.hub import HubSettings, resolve_commit
from harness.data.local import read_mirror
from harness.data.sources import load_task
from harness.evaluate.encode.model.locate import LocatedModel, hash_weights, read_json, stored_tensors
from harness.evaluate.encode.model.outline import empty_transformer
from harness.evaluate.encode.model.own import read_own_settings
from harness.evaluate.encode.model.sizes import read_sizes
from harness.evaluate.encode.store.shards import DamagedShardError, open_shard, write_shard
from harness.evaluate.encode.store.stored import read_about
from harness.evaluate.runner import _exclusive
from harness.read.cards.claimed import read_card_run
from harness.read.cards.page import read_rows
from harness.read.claims.sheet import read_sheet
from harness.read.drift.baselines import LOG, list_baselines
from harness.read.results import read_results

SEED = int(os.environ.get("FUZZ_SEED", "0"))
IN_CI, AT_LENGTH = 40, 4000  # damaged files per reader
NUMBER, TEXT, PLACE = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?"), re.compile(rb'"[^"\n]{0,60}"'), re.compile(rb"[\[{,:\n]")
VALUES = (
    *(b"1" + b"0" * 400, b"-1", b"9223372036854775808", b"1e400", b"NaN", b"Infinity", b"0.5", b"null", b"true", b"[]", b"{}", b"[[]]"),
    *(
        b'""',
        b'"../../x"',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"5"',
        b'"' + "长".encode() * 3000 + b'"',
        b"!!python/object:os.system",
        b"&a [*a]",
    ),
)


def damage(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three faults, drawn from bits to whole values."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        content = draw.choice(FAULTS)(content, draw)
    return content


def flip(content: bytes, draw: random.Random) -> bytes:
    flipped = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 8))):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def cut(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    return draw.choice((content[:start], content[start:], content[:start] + content[draw.randrange(start, len(content) + 1) :]))


def repeat(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    stop = draw.randrange(start, min(len(content), start + 300) + 1)
    return content[:stop] + content[start:stop] * draw.choice((1, 2, 50)) + content[stop:]


def insert(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] + draw.choice((draw.randbytes(draw.randrange(1, 40)), b"\xff\xfe", b"\xef\xbb\xbf", b"\0")) + content[start:]


def replace_value(content: bytes, draw: random.Random) -> bytes:
    found = list(draw.choice((NUMBER, TEXT)).finditer(content[:200_000]))
    if not found:
        return flip(content, draw)
    match = draw.choice(found)
    return content[: match.start()] + draw.choice(VALUES) + content[match.end() :]


def nest(content: bytes, draw: random.Random) -> bytes:
    places = [match.end() for match in PLACE.finditer(content[:200_000])] or [0]
    start = draw.choice(places)
    return content[:start] + draw.choice((b"[", b'{"a":', b"- ", b"{a: ")) * draw.choice((3, 3000)) + content[start:]


FAULTS = (flip, cut, repeat, insert, replace_value, replace_value, replace_value, nest)


@dataclass(frozen=True)
class Reader:
    """What reads `file` of a folder that `make` fills. `cost`: how many times longer than others it takes."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    cost: int = 1


def data_file(name: str, content: bytes) -> Reader:
    def make(folder: Path) -> None:
        write(folder, {f"AFQMC/{name}": content})

    def read(folder: Path) -> object:  # `present`: no checksums are kept, which would name every damage before it is read
        return load_task(BENCHMARK.task("AFQMC"), DataSpec(source="local", root=str(folder), verify="off"), present=True)

    return Reader(f"AFQMC/{name}", make, read)


def arrow() -> bytes:
    stream, table = io.BytesIO(), pyarrow.table(columns(STS_ROWS))
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def model_file(name: str, read: Callable[[Path], object], cost: int = 1) -> Reader:
    return Reader(name, lambda folder: shutil.copytree(SAMPLE_DIR / "model", folder, dirs_exist_ok=True), read, cost)


def settings_of(folder: Path) -> object:
    own = read_own_settings(LocatedModel(name="m", folder=folder, source="path", repository=None, commit=None))
    return own.table, read_sizes(folder, hash_weights(folder))


def make_shard(folder: Path) -> None:
    keys = np.frombuffer(bytes(range(48)), dtype=np.uint8).reshape(3, 16)
    write_shard(folder, keys, torch.zeros(3, 8), "fp32").rename(folder / "shard.safetensors")


def read_shard(folder: Path) -> object:
    try:
        shard, keys = open_shard(folder / "shard.safetensors", dim=8, dtype="fp32")
        return keys, shard.vectors()
    except DamagedShardError as error:  # a run sets it aside and names it
        raise InputError(f"shard.safetensors: {error}") from error


def make_setting(folder: Path) -> None:
    about = {"digest": "d" * 64, "dim": 8, "dtype": "fp32", "model": "m"}
    write_json(folder / "setting.json", about)


def read_tokenizer(folder: Path) -> object:
    spec = ModelSpec(name="m", path=str(folder))
    return empty_transformer(LocatedModel(name="m", folder=folder, source="path", repository=None, commit=None), spec).tokenizer


def make_answer(folder: Path) -> None:
    siblings = [{"rfilename": "data/test-00000-of-00001.parquet"}]
    answer = {
        "id": "C-MTEB/BQ",
        "sha": commit_of("bq"),
        "siblings": siblings,
        "tags": ["a"],
        "private": False,
        "lastModified": "2024-01-01T00:00:00.000Z",
    }
    write_json(folder / "answer.json", answer)


def read_answer(folder: Path) -> object:
    with running(FakeHub(answer=(folder / "answer.json").read_bytes())) as hub:
        hub.add("C-MTEB/BQ", commit_of("bq"), {})
        settings = HubSettings(endpoint=hub.endpoint, cache=folder.parent / "inside", offline=False)
        try:
            return resolve_commit("C-MTEB/BQ", None, settings)
        except MachineError as error:
            raise InputError(str(error).replace(hub.endpoint, "answer.json")) from error  # the message names who answered


def make_run(folder: Path) -> None:
    gate_run(folder)


def make_examples(folder: Path) -> None:
    task = BENCHMARK.task("STSB")
    columns = {name: [0.5, 0.25] for name in task.kind.columns}
    write_examples(folder, task, examples_table([0, 1], [["a", "b"], ["c", "d"]], columns))


def make_benchmark(folder: Path) -> None:
    own = (resource_dir("configs") / "benchmarks" / "cmteb35.yaml").read_text(encoding="utf-8")
    (folder / "mine.yaml").write_text(own.replace("name: cmteb35\n", "name: mine\n"), encoding="utf-8")


def make_model(folder: Path) -> None:
    (folder / "mine.yaml").write_text("hub: org/name\nrevision: main\nmax_positions: 512\nadd_eos_token: false\n", encoding="utf-8")


def make_prompts(folder: Path) -> None:
    (folder / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")


def make_card(folder: Path) -> None:
    write_card(folder, card_text(brief=True))


def make_costs(folder: Path) -> None:
    append_cost(folder, CostLine(run=Cost(scoring_seconds=1.0)))


ROWS = json_lines(STS_ROWS)
PROMPTS = "query: 问：\ntemplate: 'Instruct: {instruction}\\nQuery: '\ntasks:\n  STSB:\n    text: 句\n  Retrieval:\n    query: 查\n"
READERS: dict[str, Reader] = {
    "card": Reader("README.md", make_card, lambda folder: read_card_run(folder / "README.md", BENCHMARK), 4),
    "claims": Reader("README.md", make_card, lambda folder: read_sheet(folder / "README.md", BENCHMARK), 8),
    "result": Reader("STSB.json", make_import, lambda folder: read_results(folder, BENCHMARK)),
    "manifest": Reader("manifest.json", make_run, lambda folder: read_run(folder, BENCHMARK), 4),
    "record": Reader("STSB.json", make_run, lambda folder: read_run(folder, BENCHMARK), 4),
    "calibration": Reader("calibration.json", make_calibration, lambda folder: read_calibration(folder / "calibration.json", BENCHMARK)),
    "log of baselines": Reader(LOG, make_log, list_baselines),
    "printed rows": Reader("rows.json", KINDS["printed rows"].make, lambda folder: read_rows(folder / "rows.json")),
    "mirror": Reader("mirror.json", make_mirror, read_mirror),
    "jsonl": data_file("validation.jsonl", ROWS),
    "jsonl.gz": data_file("validation.jsonl.gz", gzipped(ROWS)),
    "jsonl.zst": data_file("validation.jsonl.zst", zstd(ROWS)),
    "json": data_file("validation.json", json.dumps(STS_ROWS).encode()),
    "csv": data_file("validation.csv", delimited(STS_ROWS, ",")),
    "tsv": data_file("validation.tsv", delimited(STS_ROWS, "\t")),
    "parquet": data_file("validation.parquet", parquet(columns(STS_ROWS))),
    "arrow": data_file("validation/data-00000-of-00001.arrow", arrow()),
    "prompts": Reader("prompts.yaml", make_prompts, lambda folder: prompts_from(str(folder / "prompts.yaml"))),
    "benchmark": Reader("mine.yaml", make_benchmark, lambda folder: load_benchmark(str(folder / "mine.yaml")), 8),
    "model": Reader(
        "mine.yaml",
        lambda folder: (folder / "mine.yaml").write_text("hub: org/name\nrevision: main\nmax_positions: 512\nadd_eos_token: false\n"),
        lambda folder: resolve_request([f"model={folder / 'mine.yaml'}"]),
        20,
    ),
    "examples": Reader("per_example/STSB.parquet", make_examples, lambda folder: read_examples(folder, BENCHMARK.task("STSB"))),
    "costs": Reader(COSTS, make_costs, read_costs),
    "shard": Reader("shard.safetensors", make_shard, read_shard),
    "setting of a store": Reader("setting.json", make_setting, read_about),
    "hub's answer": Reader("answer.json", make_answer, read_answer, 4),
    "tokenizer": model_file("tokenizer.json", read_tokenizer, 10),
    "weights": model_file("model.safetensors", lambda folder: stored_tensors(folder / "model.safetensors")),
    "modules": model_file("modules.json", lambda folder: read_json(folder / "modules.json")),
    **{
        f"model's {name}": model_file(name, settings_of)
        for name in ("config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json")
    },
}


PIPES = ("card", "claims", "hub's answer", "prompts")
"""Readers of what a user names, which may be the output of a command; the hub's answer is a file of this test alone."""


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_gives_a_value_or_one_error_that_names_it(tmp_path: Path, name: str) -> None:
    try_damage(tmp_path, name, IN_CI)


@pytest.mark.parametrize("name", [name for name in READERS if name not in PIPES])
def test_a_named_pipe_in_the_place_of_a_file_makes_no_reader_wait(tmp_path: Path, name: str) -> None:
    reader = READERS[name]
    reader.make(tmp_path)
    (tmp_path / reader.file).unlink()
    os.mkfifo(tmp_path / reader.file)
    with nobody_waits(), contextlib.suppress(InputError, RequestError):
        reader.read(tmp_path)


@pytest.mark.parametrize("writes", ["costs.jsonl", ".lock"])
@pytest.mark.parametrize(("make", "what"), [(os.mkfifo, "it is no file, but a named pipe"), (os.mkdir, "Is a directory")])
def test_what_is_no_file_makes_nobody_wait_who_appends(tmp_path: Path, writes: str, make: Callable[[Path], None], what: str) -> None:
    make(tmp_path / writes)
    with nobody_waits(), pytest.raises(MachineError, match=f"can't write .*: {what}"):
        make_costs(tmp_path) if writes == COSTS else _exclusive(tmp_path).__enter__()


@contextlib.contextmanager
def nobody_waits() -> Iterator[None]:
    """Nothing in the block waits for the other end of a pipe."""

    def waits(*_: object) -> None:
        raise KeyboardInterrupt("it waits for a writer")  # which no reader takes for damage

    before = signal.signal(signal.SIGALRM, waits)
    signal.alarm(10)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_a_named_pipe_is_named() -> None:
    for make in (open_regular, open_to_append, sha256_file):
        with pytest.raises(OSError, match=r"no file, but a named pipe or a device: '/dev/zero'"):
            make(Path("/dev/zero"))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_much_damage(tmp_path: Path, name: str) -> None:
    try_damage(tmp_path, name, AT_LENGTH)


def try_damage(tmp_path: Path, name: str, times: int) -> None:
    reader, folder = READERS[name], tmp_path / "inside"
    folder.mkdir()
    reader.make(folder)
    reader.read(folder)
    file = folder / reader.file
    valid, before = file.read_bytes(), set(folder.rglob("*"))
    wrong = []
    for number in range(-(-times // reader.cost)):
        file.write_bytes(damage(valid, random.Random(f"{SEED} {name} {number}")))
        if problem := problem_of(reader, folder):
            wrong.append(f"FUZZ_SEED={SEED}, number {number}: {problem:.600}")
    assert not wrong, f"{len(wrong)} of {times}:\n" + "\n".join(wrong[:8])
    assert set(folder.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def problem_of(reader: Reader, folder: Path) -> str | None:
    """What is wrong with how the reader takes the folder; None where it gives a value or an error that names the file."""
    try:
        reader.read(folder)
    except (InputError, RequestError) as error:
        message = str(error)
        return None if Path(reader.file).name in message and len(message) < 3000 else f"{len(message)} characters: {message}"
    except Exception as error:  # noqa: BLE001  whatever it is, a user would see a traceback
        return f"{type(error).__name__}: {error}"
    return None
