from __future__ import annotations

import errno
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest
import torch
from runs import as_nobody, open_folder
from safetensors import safe_open
from tiny_models import HAN, POSITIONS, build_model, load_encoder

from harness.commands import main
from harness.core.errors import InputError, MachineError
from harness.core.files import atomic_write
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Encoded, EncodingStep
from harness.evaluate.encode.model.tokens import TextTokenizer, TokenIds
from harness.evaluate.encode.store import stored as stored_module
from harness.evaluate.encode.store import texts as texts_module
from harness.evaluate.encode.store.shards import Keys
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.store.stored import StoredVectors

CPU = torch.device("cpu")
DIGEST = hashlib.sha256(b"setting").hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    return VectorStore(tmp_path / "store")


def keys_of(*names: object) -> Keys:
    digests = b"".join(hashlib.blake2b(str(name).encode(), digest_size=16).digest() for name in names)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16)


def open_vectors(store: VectorStore, *, dtype: Dtype = "bf16", dim: int = 8) -> StoredVectors:
    return VectorStore(store.path).open(DIGEST, dim=dim, dtype=dtype, about={"model": "tiny"})


def numbers(count: int, *, dtype: Dtype = "bf16", dim: int = 8) -> torch.Tensor:
    return torch.arange(count * dim).reshape(count, dim).sqrt().to(TORCH_DTYPE[dtype])


def shards(store: VectorStore) -> list[Path]:
    return sorted(store.path.rglob("*.safetensors"))


def flip_bit(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


# --- get and put -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_what_was_put_is_got_bit_by_bit_in_the_order_asked(store: VectorStore, dtype: Dtype) -> None:
    vectors = numbers(40, dtype=dtype)
    vectors[3, 0] = float("-0.0")
    writer = open_vectors(store, dtype=dtype)
    writer.put(keys_of(*range(25)), vectors[:25])
    writer.flush()
    writer.put(keys_of(*range(25, 40)), vectors[25:])
    writer.flush()
    for reader in (writer, open_vectors(store, dtype=dtype)):
        asked = [39, 3, "absent", 3, 0, 24, "other", 25]
        found, got = reader.get(keys_of(*asked))
        assert found.tolist() == [True, True, False, True, True, True, False, True]
        assert reader.contains(keys_of(*asked)).tolist() == found.tolist()
        assert got.dtype == TORCH_DTYPE[dtype]
        assert got.view(torch.uint8).equal(vectors[[39, 3, 3, 0, 24, 25]].view(torch.uint8))


def test_nothing_is_found_in_a_store_that_is_not_there_and_nothing_is_made(store: VectorStore) -> None:
    found, vectors = open_vectors(store).get(keys_of("a", "b"))
    assert not found.any()
    assert vectors.shape == (0, 8)
    assert store.info() == []
    assert store.verify() == []
    assert not store.path.exists()


def test_keys_that_share_their_first_half_are_distinct(store: VectorStore) -> None:
    keys = np.zeros((50, 16), dtype=np.uint8)
    keys[:, 15] = np.arange(50)
    keys[40:, 0] = 7
    order = np.random.default_rng(0).permutation(50)
    vectors = open_vectors(store)
    for part in np.array_split(order, 4):
        vectors.put(keys[part], numbers(50)[torch.from_numpy(part)])
        vectors.flush()
    absent = keys.copy()
    absent[:, 14] = 1
    found, got = vectors.get(np.concatenate([absent, keys]))
    assert found.tolist() == [False] * 50 + [True] * 50
    assert got.equal(numbers(50))


def test_a_shard_is_a_safetensors_file_named_by_its_sha256(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a", "b"), numbers(2))
    vectors.flush()
    (path,) = shards(store)
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("vectors").equal(numbers(2))
        assert file.get_tensor("keys").numpy().tobytes() == keys_of("a", "b").tobytes()


def test_a_full_shard_is_written_without_being_asked(store: VectorStore) -> None:
    vectors = open_vectors(store, dtype="fp32", dim=2**20)
    for start in range(0, 40, 10):
        vectors.put(keys_of(*range(start, start + 10)), torch.full((10, 2**20), float(start)))
    deadline = time.monotonic() + 60
    while not shards(store) and time.monotonic() < deadline:
        pass
    assert len(shards(store)) >= 1
    vectors.flush()
    assert vectors.get(keys_of(35))[1][0, 5] == 30.0


# --- several processes, kills, damage --------------------------------------------------------------------------------------------------


def test_what_others_write_is_found_after_a_refresh(store: VectorStore) -> None:
    reader, writer = open_vectors(store), open_vectors(store)
    writer.put(keys_of("a"), numbers(1))
    writer.flush()
    assert not reader.contains(keys_of("a")).any()
    reader.refresh()
    assert reader.contains(keys_of("a")).all()


WRITE = f"""
import hashlib, sys, numpy as np, torch
from pathlib import Path
from harness.core.spec import Dtype
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Encoded, EncodingStep
from harness.evaluate.encode.model.tokens import TextTokenizer, TokenIds
from harness.evaluate.encode.store import stored as stored_module
from harness.evaluate.encode.store import texts as texts_module
from harness.evaluate.encode.store.shards import Keys
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.store.stored import StoredVectors
DIGEST = {DIGEST!r}
{"".join(map(inspect.getsource, (keys_of, numbers, open_vectors)))}
vectors, mine = open_vectors(VectorStore(Path(sys.argv[1]))), int(sys.argv[2])
for turn in range(10_000 if mine < 0 else 30):
    names = ["both %d" % turn, "%d %d" % (mine, turn)]
    vectors.put(keys_of(*names), numbers(2) + (turn % 2))
    vectors.flush()
    print(turn, flush=True)
"""


def start_writer(store: VectorStore, mine: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(store.path), str(mine)]  # without sentence-transformers, which takes seconds to import
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(store: VectorStore) -> None:
    writers = [start_writer(store, mine) for mine in (1, 2)]
    for writer in writers:
        assert writer.wait() == 0
    names = [f"{who} {turn}" for turn in range(30) for who in ("both", 1, 2)]
    assert open_vectors(store).get(keys_of(*names))[0].all()
    assert store.verify() == []


def test_a_kill_leaves_whole_shards_and_no_lock(store: VectorStore) -> None:
    writer = start_writer(store, -1)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 20:
            break
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    vectors = open_vectors(store)
    assert vectors.get(keys_of(*(f"-1 {turn}" for turn in range(20))))[0].all()
    assert store.verify() == []
    vectors.put(keys_of("after"), numbers(1))
    vectors.flush()
    assert vectors.contains(keys_of("after")).all()


@pytest.mark.parametrize("place", [2, 30, -1, 250])
def test_a_damaged_shard_is_reported_renamed_and_never_read(store: VectorStore, caplog: pytest.LogCaptureFixture, place: int) -> None:
    vectors = open_vectors(store)
    for name in ("good", "bad"):
        vectors.put(keys_of(*(f"{name} {i}" for i in range(9))), numbers(9))
        vectors.flush()
    path = next(path for path in shards(store) if keys_of("bad 0").tobytes() in path.read_bytes())
    flip_bit(path, place)
    reader = open_vectors(store)
    found, got = reader.get(keys_of("bad 1", "good 1", "bad 2", "good 8"))
    assert found.tolist() == [False, True, False, True]
    assert got.equal(numbers(9)[[1, 8]])
    assert "damaged shard" in caplog.text
    assert not path.exists()
    assert path.with_name(path.name + ".damaged").is_file()
    # The same vectors, computed again, take the place of the damaged ones.
    reader.put(keys_of(*(f"bad {i}" for i in range(9))), numbers(9))
    reader.flush()
    assert reader.get(keys_of("bad 1"))[1].equal(numbers(9)[[1]])
    assert store.info()[0].damaged == 1


def test_a_shard_that_can_not_be_read_is_left_where_it_is(store: VectorStore, caplog: pytest.LogCaptureFixture) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a", "b"), numbers(2))
    vectors.flush()
    (path,) = shards(store)
    away = path.rename(path.with_name("away"))
    path.symlink_to(path.name)  # as root is denied nothing, a link to itself is what fails to open
    assert open_vectors(store).get(keys_of("a"))[0].tolist() == [False]
    assert "unreadable shard of the vector store, left out" in caplog.text
    assert path.is_symlink()
    path.unlink()
    away.rename(path)
    assert open_vectors(store).get(keys_of("a", "b"))[1].equal(numbers(2))


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_shard_cut_short_is_set_aside_when_the_store_is_opened(store: VectorStore, keep: int) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a", "b"), numbers(2))
    vectors.flush()
    (path,) = shards(store)
    path.write_bytes(path.read_bytes()[:keep])
    assert not open_vectors(store).get(keys_of("a"))[0].any()
    assert shards(store) == []


def test_verify_finds_damage_that_nobody_read(store: VectorStore) -> None:
    vectors = open_vectors(store)
    for name in "abc":
        vectors.put(keys_of(name), numbers(1))
        vectors.flush()
    path = shards(store)[1]
    flip_bit(path, -1)
    assert store.verify() == [path]
    assert store.verify() == []
    assert len(shards(store)) == 2


def test_a_shard_that_another_process_deleted_is_computed_again(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    shutil.rmtree(vectors.folder)
    assert not vectors.get(keys_of("a"))[0].any()
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    assert open_vectors(store).get(keys_of("a"))[0].all()


def test_a_folder_of_another_setting_is_refused(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    with pytest.raises(InputError, match="of another setting"):
        store.open(DIGEST[:32] + "0" * 32, dim=8, dtype="bf16", about={})
    for damage in ("{}", "[" * 100_000, '{"dtype": "bf16", "dim": 1e999, "digest": ""}'):
        (store.path / DIGEST[:32] / "setting.json").write_text(damage)
        with pytest.raises(InputError, match=r"setting\.json is damaged.*delete"):
            open_vectors(store)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_store_is_an_error(store: VectorStore) -> None:
    store.path.mkdir()
    store.path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    with pytest.raises(MachineError, match="can't write"):
        vectors.flush()


def test_a_store_that_is_a_file_is_an_error(store: VectorStore) -> None:
    store.path.write_text("")
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    with pytest.raises(MachineError, match="can't write"):
        vectors.flush()


# --- what the command line shows -------------------------------------------------------------------------------------------------------


def test_info_and_prune(store: VectorStore) -> None:
    for digest, model in (("a" * 64, "old"), ("b" * 64, "new")):
        vectors = VectorStore(store.path).open(digest, dim=8, dtype="fp32", about={"model": model})
        vectors.put(keys_of(1, 2, 3), numbers(3, dtype="fp32"))
        vectors.flush()
    long_ago = time.time() - 10 * 86400
    os.utime(store.path / ("a" * 32) / "setting.json", (long_ago, long_ago))
    leftover = store.path / ("b" * 32) / ".x.safetensors.1.tmp"
    leftover.write_bytes(b"12345")
    assert [(info.about["model"], info.vectors, info.shards, info.damaged) for info in store.info()] == [("new", 3, 1, 0), ("old", 3, 1, 0)]
    assert store.info()[0].about["dtype"] == "fp32"
    pruned = store.prune()
    assert (pruned.settings, pruned.leftovers, pruned.bytes) == ((), 1, 5)
    assert store.prune(model="new", unused_days=5).settings == ()
    pruned = store.prune(model="new")
    assert (pruned.settings, pruned.in_use) == ((), ("b" * 32,))
    del vectors
    assert store.prune(unused_days=5).settings == ("a" * 32,)
    assert [info.about["model"] for info in store.info()] == ["new"]
    open_vectors(store).put(keys_of(1), numbers(1))
    assert store.prune(model="new").settings == ("b" * 32,)


def test_a_setting_that_lost_its_description_is_described_again(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    (vectors.folder / "setting.json").unlink()
    assert VectorStore(store.path).info() == []
    assert open_vectors(VectorStore(store.path)).get(keys_of("a"))[0].all()
    assert [info.vectors for info in store.info()] == [1]


def test_what_a_run_writes_after_its_store_was_deleted_is_still_believed(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.prove(keys_of("x"), numbers(1))
    shutil.rmtree(vectors.folder)
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    later = open_vectors(VectorStore(store.path))
    later.prove(keys_of("x"), numbers(1))
    assert later.contains(keys_of("a")).all()


def use(place: Path) -> None:
    """What a run does with a store that has vectors of a and b."""
    with open_vectors(VectorStore(place)) as vectors:
        vectors.prove(keys_of("x"), numbers(1))
        found, _ = vectors.get(keys_of(*"abc"))
        vectors.put(keys_of(*"abc")[~found], numbers(3)[torch.from_numpy(~found)])
        vectors.flush()
        assert vectors.get(keys_of(*"abc"))[1].equal(numbers(3))


def prune(place: Path) -> None:
    VectorStore(place).prune(model="tiny")
    VectorStore(place).info()


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [use, prune])
def test_a_prune_between_any_two_lines_stops_nothing_and_leaves_a_store_that_is_believed(
    interrupted: Callable[[Path], None], tmp_path: Path
) -> None:
    """Before every line of the store's code, when it is first reached in this thread, another prune comes in between."""
    files = {*map(str, Path(inspect.getfile(StoredVectors)).parent.glob("*.py")), inspect.getfile(atomic_write)}

    def trial(place: Path, at: int) -> int:
        vectors = open_vectors(VectorStore(place))
        vectors.prove(keys_of("x"), numbers(1))
        vectors.put(keys_of("a", "b"), numbers(2))
        vectors.flush()
        del vectors
        reached: set[tuple[CodeType, int]] = set()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            if event == "line" and (frame.f_code, frame.f_lineno) not in reached:
                reached.add((frame.f_code, frame.f_lineno))
                if len(reached) == at:
                    sys.settrace(None)
                    prune(place)
            return trace if frame.f_code.co_filename in files else None

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            interrupted(place)
        finally:
            sys.settrace(before)
        use(place)
        return len(reached)

    lines = trial(tmp_path / "0", 0)
    assert lines > 50
    for at in range(1, lines + 1):
        trial(tmp_path / str(at), at)


def test_a_damaged_proof_is_set_aside_where_another_proves_the_store(store: VectorStore, caplog: pytest.LogCaptureFixture) -> None:
    vectors = open_vectors(store)
    proven = numbers(2)
    vectors.prove(keys_of("x"), proven[:1])
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    vectors.prove(keys_of("x", "y"), proven)
    first, second = sorted(vectors.folder.glob("*.proof"))
    whole = first.read_bytes()
    flip_bit(first, -1)
    vectors.prove(keys_of("x", "y"), proven)
    assert first.read_bytes() == whole, "written anew"
    assert first.with_name(f"{first.name}.damaged").exists()
    assert "damaged shard of the vector store" in caplog.text
    assert store.verify() == []
    flip_bit(second, -1)
    assert store.verify() == [second]


def test_prune_leaves_what_is_not_the_stores(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a"), numbers(1))
    vectors.flush()
    (vectors.folder / "mine.txt").write_text("mine")
    (vectors.folder / "subdir").mkdir()
    folder = vectors.folder
    del vectors
    assert store.prune(model="tiny").settings == (folder.name,)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt", "subdir"]
    assert store.info() == []


def test_who_opens_a_store_deletes_what_a_killed_writer_left(store: VectorStore) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of(1), numbers(1))
    vectors.flush()
    killed, written = (vectors.folder / f".{name}.safetensors.1.tmp" for name in ("x", "y"))
    killed.write_bytes(b"half")
    with written.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert open_vectors(VectorStore(store.path)).contains(keys_of(1)).all()
    assert (killed.exists(), written.exists()) == (False, True)


# --- the encoder with a store ----------------------------------------------------------------------------------------------------------


def load(
    tiny_model: Path, store: VectorStore | None, *, dtype: Dtype = "fp32", max_len: int = POSITIONS, batch_tokens: int = 128
) -> CanonicalEncoder:
    spec, encoding = ModelSpec(name="tiny", path=str(tiny_model)), EncodingSpec(ladder="padded", batch_tokens=batch_tokens)
    return load_encoder(spec, dtype=dtype, max_len=max_len, encoding=encoding, device=CPU, store=store)


TEXTS = [HAN[start : start + length] for start in range(5) for length in (1, 3, 8, 20, 40)] + ["一二三" * 40]


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_a_store_changes_no_bit_and_a_second_run_runs_nothing(tiny_model: Path, store: VectorStore, dtype: Dtype) -> None:
    without = load(tiny_model, None, dtype=dtype).encode(TEXTS)
    first, second = load(tiny_model, store, dtype=dtype), load(tiny_model, store, dtype=dtype)
    assert first.encode(TEXTS).equal(without)
    assert second.encode(TEXTS[::-1]).equal(without.flip(0))
    assert (second.counters.forwards, second.counters.tokens, second.counters.found) == (0, 0, len(TEXTS))
    assert first.encode(TEXTS).equal(without)
    assert (first.counters.found, first.counters.distinct) == (len(TEXTS), 2 * len(TEXTS))


def test_another_max_len_costs_only_the_texts_it_cuts_otherwise(tiny_model: Path, store: VectorStore) -> None:
    load(tiny_model, store, max_len=30).encode(TEXTS)
    longer = load(tiny_model, store)
    vectors = longer.encode(TEXTS)
    assert vectors.equal(load(tiny_model, None).encode(TEXTS))
    assert longer.counters.found == sum(len(text) + 2 <= 30 for text in TEXTS)
    shorter = load(tiny_model, store, max_len=30)
    shorter.encode(TEXTS)
    assert (shorter.counters.found, shorter.counters.forwards) == (len(TEXTS), 0)


def test_vectors_of_another_setting_are_not_found(tiny_model: Path, store: VectorStore, tmp_path: Path) -> None:
    load(tiny_model, store).encode(TEXTS)
    other = build_model(tmp_path / "other", dense=48, seed=1)
    same = Path(shutil.copytree(tiny_model, tmp_path / "elsewhere"))
    for encoder, expected in ((load(other, store), 0), (load(tiny_model, store, dtype="bf16"), 0), (load(same, store), len(TEXTS))):
        encoder.encode(TEXTS)
        assert encoder.counters.found == expected
    assert sorted(info.about["dtype"] for info in store.info()) == ["bf16", "fp32", "fp32"]


def test_batches_of_another_size_share_only_texts_of_the_same_batch_shape(tiny_model: Path, store: VectorStore) -> None:
    load(tiny_model, store, batch_tokens=128).encode(TEXTS)
    larger = load(tiny_model, store, batch_tokens=130)
    assert larger.encode(TEXTS).equal(load(tiny_model, None, batch_tokens=130).encode(TEXTS))
    assert 0 < larger.counters.found < len(TEXTS)


def test_damage_during_a_run_costs_time_and_no_bit(tiny_model: Path, store: VectorStore) -> None:
    encoder = load(tiny_model, store)
    vectors = encoder.encode(TEXTS)
    for path in shards(store):
        flip_bit(path, -5)
    again = load(tiny_model, store)
    assert again.encode(TEXTS).equal(vectors)
    assert (again.counters.found, again.counters.distinct) == (0, len(TEXTS))
    assert again.encode(TEXTS).equal(vectors)
    assert again.counters.found == len(TEXTS)


@pytest.fixture
def tokenised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are tokenised from here on."""
    seen: list[str] = []
    tokenize = TextTokenizer.tokenize

    def watched(self: TextTokenizer, texts: Sequence[str]) -> TokenIds:
        seen.extend(texts)
        return tokenize(self, texts)

    monkeypatch.setattr(TextTokenizer, "tokenize", watched)
    return seen


def same(one: Encoded, other: Encoded) -> bool:
    assert one.ids is not None
    assert other.ids is not None
    figures = (one.ids, other.ids), (one.tokens, other.tokens), (one.cut, other.cut)
    return one.vectors.equal(other.vectors) and all(np.array_equal(*pair) for pair in figures)


def test_a_text_whose_vector_is_stored_is_not_tokenised_again(tiny_model: Path, store: VectorStore, tokenised: list[str]) -> None:
    known, more = TEXTS[::2], ["not yet", HAN[7:9], *TEXTS, "Not Yet"]  # the last has the first one's token ids
    without = load(tiny_model, None, max_len=30)
    load(tiny_model, store, max_len=30).encode(known)
    expected = without.encode_counted(more)
    tokenised.clear()
    encoder = load(tiny_model, store, max_len=30)
    assert same(encoder.encode_counted(more), expected)
    assert sorted(tokenised) == sorted({*more} - {*known})
    assert (encoder.counters.cut, encoder.counters.real_tokens) == (without.counters.cut, without.counters.real_tokens)
    tokenised.clear()
    assert same(load(tiny_model, store, max_len=30).encode_counted(more[::-1] * 2), without.encode_counted(more[::-1] * 2))
    assert tokenised == list(dict.fromkeys(more[::-1]))  # those of `without`


def test_a_text_is_tokenised_once_for_all_lengths_that_it_fits_into(tiny_model: Path, store: VectorStore, tokenised: list[str]) -> None:
    for max_len, fit in ((30, 0), (POSITIONS, 30), (20, 20), (POSITIONS, POSITIONS), (20, POSITIONS), (22, 22), (30, POSITIONS)):
        expected = load(tiny_model, None, max_len=max_len).encode_counted(TEXTS)
        tokenised.clear()
        assert same(load(tiny_model, store, max_len=max_len).encode_counted(TEXTS), expected)
        assert tokenised == [text for text in TEXTS if len(text) + 2 > fit and fit < POSITIONS]


def test_texts_are_tokenised_again_by_other_code(
    tiny_model: Path, store: VectorStore, tokenised: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tiny_model, store).encode(TEXTS)
    tokenised.clear()
    monkeypatch.setattr(texts_module, "code_digest", lambda rooms: f"other code of {rooms}")
    again = load(tiny_model, store)
    again.encode(TEXTS)
    assert (tokenised, again.counters.found) == (TEXTS, len(TEXTS))


def test_damaged_shards_of_texts_and_of_their_vectors_cost_time_and_no_bit(
    tiny_model: Path, store: VectorStore, tokenised: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    vectors = load(tiny_model, store).encode(TEXTS)
    (path,) = store.path.rglob("*.texts")
    flip_bit(path, -5)
    assert store.verify() == [path]
    assert "what was in it is computed again" in caplog.text
    tokenised.clear()
    again = load(tiny_model, VectorStore(store.path))
    assert again.encode(TEXTS).equal(vectors)
    assert (tokenised, again.counters.found) == (TEXTS, len(TEXTS))
    assert len(list(store.path.rglob("*.texts"))) == 1

    for shard in shards(store):
        flip_bit(shard, -5)
    tokenised.clear()
    again = load(tiny_model, VectorStore(store.path))
    assert again.encode(TEXTS).equal(vectors)
    assert (tokenised, again.counters.found) == (TEXTS, 0)

    tokenised.clear()
    again = load(tiny_model, VectorStore(store.path))

    def prune(step: EncodingStep) -> None:  # when the texts were looked up, and their vectors not read yet
        for shard in shards(store):
            shard.unlink()

    assert again.encode(TEXTS, progress=prune).equal(vectors)
    assert (tokenised, again.counters.found) == (TEXTS, 0)


@pytest.mark.parametrize("harm", [lambda path: flip_bit(path, -5), Path.unlink])
def test_a_shard_of_texts_that_is_written_anew_under_its_name_is_found(
    tiny_model: Path, store: VectorStore, tokenised: list[str], harm: Callable[[Path], None]
) -> None:
    load(tiny_model, store).encode(TEXTS)
    encoder = load(tiny_model, VectorStore(store.path))
    (path,) = store.path.rglob("*.texts")
    harm(path)
    for again in (TEXTS, []):
        tokenised.clear()
        encoder.encode(TEXTS)
        assert tokenised == again
    assert path.exists()


@pytest.mark.parametrize("required", [True, False])
def test_a_store_that_has_every_vector_needs_no_room_for_texts(
    tiny_model: Path, store: VectorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, required: bool
) -> None:
    vectors = load(tiny_model, store).encode(TEXTS)
    for path in store.path.rglob("*.texts"):
        path.unlink()

    def refused(*arguments: object, **named: object) -> None:
        raise MachineError("can't write: Read-only file system")

    monkeypatch.setattr(stored_module, "write_shard", refused)
    encoder = load(tiny_model, VectorStore(store.path, required=required))
    for _ in range(2):
        assert encoder.encode(TEXTS).equal(vectors)
    assert encoder.counters.found == 2 * len(TEXTS)
    assert not caplog.records


def test_a_text_that_can_not_be_encoded_is_refused_beside_a_store_too(tiny_model: Path, store: VectorStore) -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        load(tiny_model, store).encode(["good", "bad \ud800"])
    assert not list(store.path.rglob("*.texts"))


def test_a_store_that_can_not_be_written_and_is_not_required_keeps_nothing_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no tiny_model")
    stored = VectorStore(tmp_path / "file" / "store", required=False).open(DIGEST, dim=8, dtype="bf16", about={"model": "tiny"})
    for first in (0, 3):
        stored.put(keys_of(*range(first, first + 3)), numbers(3))
        stored.flush()
    assert not stored.contains(keys_of(*range(6))).any()
    (record,) = caplog.records
    assert "goes on without the store" in record.getMessage()
    assert "can't write" in record.getMessage()


def test_a_setting_that_nobody_may_open_is_named_and_not_called_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    with open_folder() as folder:
        for digest in ("a" * 64, "b" * 64):
            vectors = VectorStore(folder).open(digest, dim=8, dtype="fp32", about={"model": digest[:1]})
            vectors.put(keys_of(1, 2), numbers(2, dtype="fp32"))
            vectors.flush()
        (folder / ("a" * 32)).chmod(0)
        (folder / ("b" * 32) / "setting.json").chmod(0)
        with as_nobody():
            assert main(["store", "info", "--path", str(folder)]) == 1
        told = capsys.readouterr().err.splitlines()
        (folder / ("a" * 32)).chmod(0o755)
    why = "setting.json can't be read (Permission denied): correct its permissions, or restore it"
    assert told == [f"error: {folder}/{name * 32}/{why}" for name in "ab"]


def test_a_store_on_a_disk_that_is_read_alone_gives_its_vectors(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of(1, 2), numbers(2))
    vectors.flush()

    def refused(*arguments: object, **named: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refused)
    assert open_vectors(store).contains(keys_of(1, 2)).all()


def test_a_damaged_description_leaves_the_other_settings_to_be_seen_and_costs_no_vector(
    store: VectorStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for digest in ("a" * 64, "b" * 64):
        store.open(digest, dim=8, dtype="fp32", about={"model": digest[:1]}).put(keys_of(1, 2), numbers(2, dtype="fp32"))
        store.open(digest, dim=8, dtype="fp32", about={}).flush()
    damaged = store.path / ("a" * 32) / "setting.json"
    damaged.write_text("{", encoding="utf-8")
    for action, shown in (("info", "1 setting, 2 vectors"), ("verify", "1 setting, 2 vectors"), ("prune", "0 settings")):
        assert main(["store", action, "--path", str(store.path)]) == 1
        printed = capsys.readouterr()
        assert shown in printed.out
        assert printed.err.startswith(f"error: {damaged} is damaged (")
        assert printed.err.endswith(": delete this file alone. A run writes it again and finds every vector\n")
    with pytest.raises(InputError, match="delete this file alone"):
        VectorStore(store.path).open("a" * 64, dim=8, dtype="fp32", about={"model": "a"})
    damaged.unlink()
    assert VectorStore(store.path).open("a" * 64, dim=8, dtype="fp32", about={"model": "a"}).contains(keys_of(1, 2)).all()
    assert main(["store", "verify", "--path", str(store.path)]) == 0


def test_the_command_shows_settings_and_damaged_shards_in_every_format(store: VectorStore, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = open_vectors(store)
    vectors.put(keys_of("a", "b"), numbers(2))
    vectors.flush()
    assert main(["store", "info", "--path", str(store.path)]) == 0
    assert "1 setting, 2 vectors, 0.0 MB" in capsys.readouterr().out
    (shard,) = shards(store)
    flip_bit(shard, -1)
    assert main(["store", "verify", "--path", str(store.path), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], len(found["damaged"])) == (True, 1)
    assert main(["store", "verify", "--path", str(store.path)]) == 1, "what was set aside is not sound"
    assert "every shard read: 1 damaged" in capsys.readouterr().out
    for days in ("-5", "nan", "inf"):
        assert main(["store", "prune", "--path", str(store.path), "--unused-days", days]) == 2
    assert len(store.info()) == 1
    capsys.readouterr()
    words = ["store", "prune", "--path", str(store.path), "--model", "tiny"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("; 1 setting left, which a run has open\n")
    del vectors
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("1 setting and ")
