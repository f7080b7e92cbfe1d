"""Headers of weights and of stored vectors that no writer makes: one error that names the file, whatever number or nesting they hold."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from harness.core.errors import InputError
from harness.evaluate.encode.model.locate import read_json, stored_tensors
from harness.evaluate.encode.store.shards import DamagedShardError, open_shard

HEADERS = {
    "length of 2^63": (2**63, b"{}"),
    "length of 2^64 - 1": (2**64 - 1, b""),
    "longer than the file": (100, b"{}"),
    "no object": (None, b"[1]"),
    "nested": (None, b"[" * 100_000),
    "a long number": (None, b'{"keys": {"shape": [' + b"9" * 401 + b'], "data_offsets": [0, 1]}}'),
    "a negative side": (None, b'{"keys": {"shape": [-5], "data_offsets": [0, 1]}, "vectors": {}}'),
    "a text as side": (None, b'{"keys": {"shape": ["abc"], "data_offsets": [0, 1]}}'),
    "infinity": (None, b'{"keys": {"shape": [Infinity], "data_offsets": [0, Infinity]}}'),
    "no offsets": (None, b'{"keys": {"shape": [1], "data_offsets": []}}'),
    "no UTF-8": (None, b"\xff\xfe{}"),
    "vectors are no object": (None, b'{"keys": {"shape": [0], "data_offsets": [0, 0]}, "vectors": 3}'),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_no_writer_makes_is_one_error(tmp_path: Path, case: str) -> None:
    length, header = HEADERS[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        stored_tensors(path)
    with pytest.raises(DamagedShardError):
        open_shard(path, dim=4, dtype="fp32")


@pytest.mark.parametrize("size", range(9))
def test_a_header_that_is_cut_short_is_one_error(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((struct.pack("<Q", 2) + b"{}")[:size])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        stored_tensors(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 10_000 + "}", "{", json.dumps({"a": 1})[:-1]])
def test_a_configuration_that_does_not_parse_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(InputError, match=r"modules\.json can't be read as JSON"):
        read_json(tmp_path / "modules.json")
