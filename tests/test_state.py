"""Nothing on disk is believed that the present code and files would not have made: records, stores, manifests."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gates import calibration_of, gate_run
from records import run_here
from runs import BENCHMARK, HEADER
from tiny_models import build_model

from harness.core import code
from harness.core.code import SCORING, bare_code, code_digest
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.records import Bits, Run
from harness.core.resources import SAMPLE_DIR
from harness.core.run_files import read_run, write_record
from harness.data import sources
from harness.evaluate.encode.model import loading
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.prepared import Outcome
from harness.read.drift.check import check_runs

SAMPLE = ["model=sample", "data=sample", "gpu=cpu", "tasks=[STSB]"]


@pytest.fixture
def go(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs STSB of the sample into `results`, with the vectors in `store`; later overrides win."""

    def run(*overrides: str) -> Outcome:
        return run_here(request(tmp_path, *overrides))

    return run


def request(tmp_path: Path, *overrides: str) -> list[str]:
    return [*SAMPLE, "canary=off", f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", *overrides]


def score(outcome: Outcome) -> float:
    return read_run(outcome.folder, BENCHMARK).records["STSB"].main_score(BENCHMARK.task("STSB"))


class TestCode:
    def test_comments_docstrings_and_empty_lines_do_not_count(self) -> None:
        before = 'def f(x):\n    """What."""\n    return x + 1  # why\n'
        after = '"""A module."""\n\n# history\ndef f(x):\n\n    """Other\n    words."""\n    return x + 1\n'
        assert bare_code(before) == bare_code(after) == "def f(x):\n    return x + 1"

    @pytest.mark.parametrize("other", ["return x + 2", "return (x + 1)", 'return "# x" and x + 1', "f'{x}'\n    return x + 1"])
    def test_every_other_change_counts(self, other: str) -> None:
        assert bare_code(f"def f(x):\n    {other}\n") != bare_code("def f(x):\n    return x + 1\n")

    def test_a_hash_in_a_string_is_no_comment(self) -> None:
        assert bare_code('a = "#1"  # one\n') == 'a = "#1"'

    def test_the_digest_follows_the_files_of_its_rooms_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(code.PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("sample", "__pycache__"))
        monkeypatch.setattr(code, "PACKAGE", tmp_path / "harness")
        digests = []
        for name, text in (("evaluate/score/tasks.py", ""), ("evaluate/score/tasks.py", "\n# a comment\n"), ("show/text.py", "x = 1\n")):
            with (tmp_path / "harness" / name).open("a") as stream:
                stream.write(text)
            code_digest.cache_clear()
            digests.append(code_digest(SCORING))
        assert len(set(digests)) == 1
        for name in ("evaluate/score/tasks.py", "core/prompts.py"):
            (tmp_path / "harness" / name).open("a").write("x = 1\n")
            code_digest.cache_clear()
            digests.append(code_digest(SCORING))
        assert len(set(digests)) == 3
        code_digest.cache_clear()


class TestRecords:
    def test_records_of_other_scoring_code_are_made_again_from_stored_vectors(
        self, go: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The story of issue 9: normalisation broken in the adapter, an older results folder, "35 found done", NO DRIFT."""
        sound = score(go())
        monkeypatch.setattr("harness.core.code.code_digest", lambda rooms: f"other code of {rooms}")
        assert [task.state for task in make_plan(request(tmp_path)).runs[0].tasks] == ["open"]
        outcome = go()
        assert (outcome.computed, outcome.cost.encoding.forwards) == (("STSB",), 0)
        assert outcome.again == {"STSB": "other code of harness/evaluate/encode"}
        assert score(outcome) == sound
        assert go().reused == ("STSB",)

    def test_a_mended_vocabulary_is_run_again(self, tmp_path: Path) -> None:
        """The story of issue 9: a damaged vocabulary, a wrong score; the vocabulary mended, "1 found done", the wrong score stays."""
        sound = build_model(tmp_path / "sound")
        folder = tmp_path / "model"
        shutil.copytree(sound, folder)
        path = folder / "tokenizer.json"
        definition = json.loads(path.read_text())
        vocabulary = definition["model"]["vocab"]
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        definition["model"]["vocab"] = dict(zip(names[:5] + names[5:][::-1], vocabulary.values(), strict=True))
        path.write_text(json.dumps(definition))

        def run() -> Outcome:
            overrides = ["model=folder", f"model.path={folder}", "max_len=32"]
            return run_here(request(tmp_path, *overrides))

        wrong = score(run())
        shutil.copyfile(sound / "tokenizer.json", path)
        mended = run()
        assert mended.again == {"STSB": "other files of the tokenizer or of the modules"}
        assert score(mended) != wrong
        pooling = folder / "1_Pooling" / "config.json"
        pooling.write_text(pooling.read_text().replace('"mean"', '"cls"'))
        assert run().computed == ("STSB",), "another pooling is another model"

    def test_records_that_would_stay_are_not_mixed_with_those_of_other_files(self, go: Callable[..., Outcome], tmp_path: Path) -> None:
        folder = build_model(tmp_path / "model")
        own = ("model=folder", f"model.path={folder}", "max_len=32")
        go(*own, "tasks=[STSB,Ocnli]")
        settings = json.loads((folder / "tokenizer.json").read_text())
        settings["model"]["max_input_chars_per_word"] = 7
        (folder / "tokenizer.json").write_text(json.dumps(settings))
        with pytest.raises(RequestError, match=r"(?s)another origin.*tokenizer_sha256"):
            go(*own)
        assert go(*own, "tasks=[STSB,Ocnli]").computed == ("Ocnli", "STSB")

    @pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text('{"header": {')], ids=["lost", "cut"])
    def test_a_lost_manifest_is_written_anew_and_nothing_is_computed(
        self, go: Callable[..., Outcome], spoil: Callable[[Path], object]
    ) -> None:
        before = go()
        path = before.folder / "manifest.json"
        whole = path.read_bytes()
        spoil(path)
        after = go()
        assert (after.computed, after.reused) == ((), ("STSB",))
        assert path.read_bytes() == whole


class TestStore:
    def test_a_store_filled_by_sound_code_is_refused_by_code_that_makes_other_vectors(
        self, go: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The story of issue 9: weights loaded as fp16 by a one-line fault, a store filled earlier: 0 forward passes, NO DRIFT."""
        go()
        load = loading.load_model

        def rounded(*arguments: object, **keywords: object) -> object:
            model = load(*arguments, **keywords)  # type: ignore[arg-type]
            for parameter in model.transformer.parameters():
                parameter.data = (parameter.data * (1 + 1e-3)).half().to(parameter.dtype)
            return model

        monkeypatch.setattr(loading, "load_model", rounded)
        with pytest.raises(InputError, match=r"\d+ of 2\d\d texts of the canary have other bits there than here.*another store=DIR"):
            go("overwrite=true")

    def test_a_store_is_proven_for_every_length_and_task(self, go: Callable[..., Outcome], tmp_path: Path) -> None:
        for overrides in (
            ("max_len=512",),
            ("max_len=64",),
            ("max_len=64", "tasks=[Ocnli]"),
            ("max_len=64", "canary=on", "overwrite=true"),
        ):
            assert go(*overrides).failed == {}
        proofs = list((tmp_path / "store").rglob("*.proof"))
        assert 1 <= len(proofs) <= 2, "texts that 64 tokens cut have vectors of their own"

    def test_other_batch_shapes_are_proven_by_themselves(self, go: Callable[..., Outcome], tmp_path: Path) -> None:
        go()
        assert go("gpu.ladder=exact", "gpu.batch_tokens=300").failed == {}
        assert len(list((tmp_path / "store").rglob("*.proof"))) == 2

    def test_vectors_without_a_proof_or_with_a_damaged_one_are_refused(self, go: Callable[..., Outcome], tmp_path: Path) -> None:
        go()
        (proof,) = (tmp_path / "store").rglob("*.proof")
        whole = proof.read_bytes()
        proof.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match=r"proof .* is damaged"):
            go("overwrite=true")
        proof.unlink()
        with pytest.raises(InputError, match="none of the canary's to prove them by"):
            go("overwrite=true")

    def test_a_full_disk_costs_the_store_and_not_the_scores(
        self, go: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object, **__: object) -> Path:
            raise MachineError("can't write store/x: No space left on device")

        monkeypatch.setattr("harness.evaluate.encode.store.stored.write_shard", full)
        outcome = go()
        assert (outcome.computed, outcome.failed) == (("STSB",), {})
        assert [record.getMessage().count("No space left") for record in caplog.records] == [1]


class TestBits:
    """`gate_run` states one setting of the encoder on both sides, so that every bit must be the same."""

    @pytest.mark.parametrize(
        ("before", "after", "moved", "layer", "verdict"),
        [
            (Bits(tokens="t", vectors="v"), Bits(tokens="t", vectors="v"), 0.0, None, "identical"),
            (Bits(tokens="t", vectors="v"), Bits(tokens="t", vectors="w"), 0.0, "vectors", "drifted"),
            (Bits(tokens="t", vectors="v"), Bits(tokens="t", vectors="w"), 0.1, "vectors", "drifted"),
            (Bits(tokens="t", vectors="v"), Bits(tokens="u", vectors="w"), 0.0, "token ids", "drifted"),
            (Bits(tokens="t", vectors="v"), Bits(tokens="t", vectors="v"), 0.001, "scoring", "drifted"),
            (Bits(tokens="t", vectors="v"), Bits(vectors="v"), 0.0, None, "identical"),
            (Bits(tokens="t", vectors="v"), None, 0.1, None, "within noise"),
            (None, None, 0.1, None, "within noise"),
        ],
    )
    def test_equal_settings_must_give_equal_bits(
        self, tmp_path: Path, before: Bits | None, after: Bits | None, moved: float, layer: str | None, verdict: str
    ) -> None:
        baseline = with_bits(gate_run(tmp_path / "baseline"), before)
        candidate = with_bits(gate_run(tmp_path / "candidate", {"STSB": moved}), after)
        report = check_runs(baseline, candidate, BENCHMARK, calibration=calibration_of(baseline), tasks=["STSB"])
        (task,) = report.tasks
        assert (task.layer, task.verdict) == (layer, verdict)
        assert report.exit_code == (3 if verdict == "drifted" else 0)

    @pytest.mark.parametrize(("tokens", "layer"), [("t", "vectors"), ("u", "token ids")])
    def test_another_form_of_the_same_data_must_give_equal_bits(self, tmp_path: Path, tokens: str, layer: str) -> None:
        baseline = with_bits(gate_run(tmp_path / "baseline"), Bits(tokens="t", vectors="v"))
        form = {"STSB": {"sha256": {"part-0.parquet": "1" * 64}}}
        candidate = with_bits(gate_run(tmp_path / "candidate", data=form), Bits(tokens=tokens, vectors="w"))
        (task,) = check_runs(baseline, candidate, BENCHMARK, calibration=None, tasks=["STSB"]).tasks
        assert (task.layer, task.verdict) == (layer, "drifted")

    def test_another_setting_is_judged_by_its_scores(self, tmp_path: Path) -> None:
        baseline = with_bits(gate_run(tmp_path / "baseline"), Bits(tokens="t", vectors="v"))
        other = {"model.digest": "9" * 64, "model.kernel": "another"}
        candidate = with_bits(gate_run(tmp_path / "candidate", {"STSB": 0.1}, manifest=other), Bits(tokens="t", vectors="w"))
        (task,) = check_runs(baseline, candidate, BENCHMARK, calibration=calibration_of(baseline), tasks=["STSB"]).tasks
        assert (task.layer, task.verdict) == (None, "within noise")

    def test_no_kernel_changes_a_token_id(self, tmp_path: Path) -> None:
        baseline = with_bits(gate_run(tmp_path / "baseline"), Bits(tokens="t", vectors="v"))
        other = {"model.digest": "9" * 64, "model.kernel": "another"}
        candidate = with_bits(gate_run(tmp_path / "candidate", manifest=other), Bits(tokens="u", vectors="w"))
        report = check_runs(baseline, candidate, BENCHMARK, calibration=calibration_of(baseline), tasks=["STSB"])
        assert (report.tasks[0].layer, report.tasks[0].verdict, report.exit_code) == ("token ids", "drifted", 3)
        longer = gate_run(tmp_path / "longer", header=replace(HEADER, max_len=1024), manifest=other)
        longer = with_bits(longer, Bits(tokens="u", vectors="w"))
        (task,) = check_runs(baseline, longer, BENCHMARK, calibration=calibration_of(baseline), tasks=["STSB"], allow_unlike=True).tasks
        assert (task.layer, task.verdict) == (None, "identical")  # another length has other token ids

    def test_a_record_states_the_digests_of_what_it_was_made_of(self, go: Callable[..., Outcome]) -> None:
        first = read_run(go().folder, BENCHMARK).records["STSB"].made
        shorter = read_run(go("max_len=8").folder, BENCHMARK).records["STSB"].made
        half = read_run(go("dtype=bf16").folder, BENCHMARK).records["STSB"].made
        assert first.bits is not None and shorter.bits is not None and half.bits is not None  # noqa: PT018
        assert first.bits.tokens == half.bits.tokens != shorter.bits.tokens
        assert len({first.bits.vectors, shorter.bits.vectors, half.bits.vectors}) == 3
        assert first.code is not None
        assert {len(first.code.encoding), len(first.code.scoring)} == {64}


def with_bits(run: Run, bits: Bits | None) -> Run:
    record = run.records["STSB"]
    write_record(run.path, replace(record, made=replace(record.made, bits=bits)))
    return read_run(run.path, BENCHMARK)


class TestData:
    def test_a_folder_of_data_that_was_edited_is_scored_again(self, go: Callable[..., Outcome], tmp_path: Path) -> None:
        table = tmp_path / "data/STSB/test.jsonl.gz"
        shutil.copytree(SAMPLE_DIR / "data/STSB", table.parent)
        local = ("data=local", f"data.root={tmp_path / 'data'}", "data.verify=label")
        first = score(go(*local))
        table.touch()
        assert go(*local).reused == ("STSB",)
        rows = [json.loads(line) for line in gzip.decompress(table.read_bytes()).splitlines()]
        table.write_bytes(gzip.compress("".join(json.dumps({**row, "score": -row["score"]}) + "\n" for row in rows).encode()))
        (table.parent / "checksums.json").unlink()
        again = go(*local)
        assert again.again == {"STSB": "other data"}
        assert score(again) == pytest.approx(-first)
        table.write_bytes(table.read_bytes() * 2)
        failed = go(*local)
        assert "damaged" in failed.failed["STSB"]
        assert read_run(failed.folder, BENCHMARK).records == {}, "the score of the data before is no score of this run"

    def test_the_sample_of_another_version_of_the_package_is_scored_again(
        self, go: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert go().computed == ("STSB",)
        shutil.copytree(SAMPLE_DIR / "data/STSB", tmp_path / "data/STSB")
        monkeypatch.setattr(sources, "SAMPLE_DIR", tmp_path)
        assert go().reused == ("STSB",), "installed again, and the same"
        shutil.copy(SAMPLE_DIR / "data/BQ/test.jsonl.gz", tmp_path / "data/STSB")
        assert go().again == {"STSB": "other data"}
