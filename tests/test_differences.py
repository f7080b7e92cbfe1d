"""Settings in which two runs differ: which are listed, and under which kind."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import manifest_of

from harness.core.records import Manifest, RowHeader, Run
from harness.read.differences import differences, distinctions, same_vectors

HEADER = RowHeader(model="m", gpu="CPU (a)", dtype="float32", size_gb=None, dim=8, max_len=16)
SHAPES = {"tokenizer_sha256": "t", "max_len": 16, "ladder": "exact", "batch_tokens": 64}
MANIFEST: dict[str, Any] = {
    "run": "r",
    "seed": 42,
    "benchmark": {"name": "cmteb35", "digest": "d"},
    "spec": {
        "dtype": "fp32",
        "max_len": 16,
        "model": {"name": "m"},
        "gpu": {"name": "cpu", "encoding": {"ladder": "exact"}},
        "scoring": {},
    },
    "model": {
        "digest": "k",
        "kernel": "cpu stepping 1",
        "weights_digest": "w",
        "weights_sha256": {"a": "1"},
        "attention": "sdpa:math",
        **SHAPES,
    },
    "device": {"name": "a", "capability": "AVX2"},
    "versions": {"torch": "2.13.0", "scikit-learn": "1.8.0"},
    "source": {"commit": "c1", "dirty": False},
    "notes_of_others": {"seconds": 3},
}


def run(**changes: Any) -> Run:
    """The run above with values put in at dotted keys (`versions__torch=`)."""
    manifest = deepcopy(MANIFEST)
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = manifest
        for key in parents:
            inner = inner[key]
        inner[last] = value
    return Run(Path("a"), manifest_of(HEADER, manifest), {})


def test_equal_runs_differ_in_nothing() -> None:
    assert differences(run(), run()) == ()
    assert differences(run(), run(run="s", notes_of_others__seconds=4)) == (), "digests and costs follow from the rest"
    assert differences(run(), run(spec__of_a_newer_harness=1)) == (), "what this harness does not know says nothing"


@pytest.mark.parametrize(
    ("change", "value", "kind", "text"),
    [
        ("benchmark__digest", "e", "protocol", "benchmark.digest: d -> e"),
        ("seed", 7, "protocol", "seed: 42 -> 7"),
        ("spec__scoring", {"dtype": "model"}, "protocol", "spec.scoring.dtype: not stated -> model"),
        ("versions__scikit-learn", "1.9.1", "protocol", "versions.scikit-learn: 1.8.0 -> 1.9.1"),
        ("versions__torch", "2.14.0", "packages", "versions.torch: 2.13.0 -> 2.14.0"),
        ("model__weights_digest", "x", "model", "model.weights_digest: w -> x"),
        ("spec__dtype", "fp16", "setting", "spec.dtype: fp32 -> fp16"),
        ("device__name", "b", "device", "device.name: a -> b"),
        ("spec__gpu__encoding__ladder", "padded", "kernel", "spec.gpu.encoding.ladder: exact -> padded"),
        ("model__kernel", "cpu stepping 2", "kernel", "model.kernel: cpu stepping 1 -> cpu stepping 2"),
        ("source__dirty", True, "source", "source.dirty: False -> True"),
    ],
)
def test_a_difference_is_listed_once_with_its_kind(change: str, value: Any, kind: str, text: str) -> None:
    found = differences(run(), run(**{change: value}))
    assert [(each.kind, str(each)) for each in found] == [(kind, text)]


KERNEL = "AMD 25 17 1 EPYC 0c31 AVX512 | torch 2.13.0+cpu 76ef | NumericFlags(tf32_matmul=False) |  | transformers 5.23.0"
OTHER_MEMORY = {"device__memory_gib": 23.5, "machine": {"platform": "Linux-6.18.44"}}


@pytest.mark.parametrize(
    ("before", "after", "beside", "expected"),
    [
        ("0c31 AVX512", "0c31 AVX2", {}, ["model.kernel.processor: AMD 25 17 1 EPYC 0c31 AVX512 -> AMD 25 17 1 EPYC 0c31 AVX2"]),
        ("EPYC 0c31", "EPYC ffff", OTHER_MEMORY, ["model.kernel.processor: AMD 25 17 1 EPYC 0c31 AVX512 -> AMD 25 17 1 EPYC ffff AVX512"]),
        (" |  | ", " | MKL_CBWR=AVX2 | ", {}, ["model.kernel.variables: not stated -> MKL_CBWR=AVX2"]),
        ("76ef", "ab12", {}, ["model.kernel.torch: torch 2.13.0+cpu 76ef -> torch 2.13.0+cpu ab12"]),
        ("torch 2.13.0+cpu 76ef", "torch 2.14.0 ab12", {"versions__torch": "2.14.0"}, ["versions.torch: 2.13.0 -> 2.14.0"]),
        ("5.23.0", "5.24.0", {}, ["model.kernel.libraries: transformers 5.23.0 -> transformers 5.24.0"]),
        (KERNEL, "made otherwise", {}, [f"model.kernel: {KERNEL} -> made otherwise"]),
    ],
)
def test_what_chooses_kernels_is_always_named(before: str, after: str, beside: dict[str, Any], expected: list[str]) -> None:
    found = differences(run(model__kernel=KERNEL), run(model__kernel=KERNEL.replace(before, after), **beside))
    assert [str(each) for each in found] == expected


def test_memory_and_the_system_are_listed_only_if_nothing_else_differs() -> None:
    assert [each.key for each in differences(run(), run(**OTHER_MEMORY))] == ["device.memory_gib", "machine.platform"]
    assert [each.key for each in differences(run(), run(**OTHER_MEMORY, source__commit="c2"))] == ["source.commit"]


def test_the_protocol_stands_first() -> None:
    found = differences(run(), run(source__commit="c2", versions__mteb="1.1.2", device__name="b"))
    assert [each.kind for each in found] == ["protocol", "device", "source"]


def test_settings_of_one_kind_stand_in_the_order_of_their_names() -> None:
    changes = {"seed": 7, "benchmark__digest": "e", "spec__dtype": "fp16", "spec__data": {"source": "local"}, "machine": {"platform": "L"}}
    found = differences(run(), run(**changes, device__name="b", device__driver="551"))
    assert [(each.kind, each.key) for each in found] == [
        ("protocol", "benchmark.digest"),
        ("protocol", "seed"),
        ("setting", "spec.data.source"),
        ("setting", "spec.dtype"),
        ("device", "device.driver"),
        ("device", "device.name"),
    ]


@pytest.mark.parametrize(
    ("before", "after"), [(None, "cpu"), ("cpu", None), (KERNEL, "cpu | torch 2.13.0"), ("cpu | torch 2.13.0", KERNEL)]
)
def test_lines_of_other_parts_are_given_whole(before: str | None, after: str | None) -> None:
    found = differences(run(model__kernel=before or ""), run(model__kernel=after or ""))
    assert [(each.kind, each.key, each.a, each.b) for each in found] == [("kernel", "model.kernel", before, after)]


def test_the_parts_of_a_line_that_differ_are_given_in_its_order() -> None:
    found = differences(run(model__kernel=KERNEL), run(model__kernel="Intel | torch 2.14.0 | tf32 | MKL_CBWR=AVX2 | "))
    parts = ["processor", "torch", "switches", "variables", "libraries"]
    assert [each.key for each in found] == sorted(f"model.kernel.{part}" for part in parts)
    assert {each.kind for each in found} == {"kernel"}
    assert {each.key.rpartition(".")[2]: each.b for each in found}["libraries"] is None


def test_of_a_run_without_a_manifest_of_ours_the_header_is_compared() -> None:
    other = Run(Path("b"), Manifest(header=RowHeader(model="m", gpu="", dtype="", size_gb=None, dim=9, max_len=None)), {})
    expected = [
        ("device", "gpu: CPU (a) -> not stated"),
        ("setting", "dtype: float32 -> not stated"),
        ("setting", "max_len: 16 -> not stated"),
        ("setting", "dim: 8 -> 9"),
    ]
    assert [(each.kind, str(each)) for each in differences(run(), other)] == expected
    named = Run(Path("c"), Manifest(header=replace(other.header, model="n")), {})
    assert [(each.kind, str(each)) for each in differences(other, named)] == [("model", "model: m -> n")]
    assert len(differences(other, run())) == len(expected)


def test_equal_fingerprints_promise_equal_vectors() -> None:
    assert same_vectors(run(), run())
    for key in ("digest", *SHAPES):
        assert not same_vectors(run(), run(**{f"model__{key}": 7 if key in ("max_len", "batch_tokens") else "other"})), key
    nothing = Run(Path("b"), Manifest(header=HEADER), {})
    assert not same_vectors(nothing, nothing), "what nobody states is not equal"


# What tells rows of one table apart

DIGEST = "1f3a9c04" * 8


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["", ""]),
        ({"run": "s", "model__digest": "l"}, ["", ""]),
        (OTHER_MEMORY, ["", ""]),
        ({"spec__dtype": "fp16"}, ["dtype fp32", "dtype fp16"]),
        ({"spec__dim": 8}, ["dim none", "dim 8"]),
        ({"model__weights_digest": DIGEST}, ["weights w", "weights 1f3a9c04"]),
        ({"model__commit": DIGEST[:41]}, ["commit none", f"commit {DIGEST[:40]}~"]),
        ({"model__commit": DIGEST[:40]}, ["commit none", "commit 1f3a9c04"]),
        ({"model__commit": 40 * "x"}, ["commit none", f"commit {40 * 'x'}"]),
        ({"device__name": "b"}, ["device.name a", "device.name b"]),
        (
            {"device__name": "b", "versions__torch": "2.14.0"},
            ["device.name a, versions.torch 2.13.0", "device.name b, versions.torch 2.14.0"],
        ),
        ({"device__name": "b", "versions__torch": "2.14.0", "seed": 7}, ["seed 42", "seed 7"]),
        ({"seed": 7, "spec__dtype": "fp16", "spec__dim": 8}, ["seed 42, dim none, dtype fp32", "seed 7, dim 8, dtype fp16"]),
        (
            {"seed": 7, "spec__dtype": "fp16", "spec__dim": 8, "model__weights_digest": "x", "spec__max_len": 8},
            ["seed 42, weights w, dim none, and 2 more", "seed 7, weights x, dim 8, and 2 more"],
        ),
        ({"spec__prompts": {"source": "file", "table": {"query": "q"}}}, ["prompts.source none", "prompts.source file"]),
    ],
)
def test_rows_alike_are_told_apart_by_what_they_were_asked_for(changes: dict[str, Any], expected: list[str]) -> None:
    assert distinctions([run().manifest, run(**changes).manifest]) == expected


def test_a_setting_in_which_one_of_three_differs_is_said_of_all() -> None:
    manifests = [run().manifest, run().manifest, run(spec__dtype="fp16").manifest]
    assert distinctions(manifests) == ["dtype fp32", "dtype fp32", "dtype fp16"]


def test_tables_of_prompts_that_differ_alone_are_named() -> None:
    one, other = (run(spec__prompts={"source": "file", "table": {"query": query}}).manifest for query in "ab")
    assert distinctions([one, other]) == ["prompts.table.query a", "prompts.table.query b"]
