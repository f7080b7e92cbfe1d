"""Scores are a function of task, data and model alone, and every known problem of mteb 1.1.1 with current libraries is handled."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import random
import subprocess
import sys
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scoring_cases import RAW_DIM, hashed_encoder, make_data

import harness.evaluate.score.tasks as scoring_tasks
from harness.core.benchmarks import load_benchmark
from harness.core.environment import SCORING_PINS
from harness.core.errors import EncodingError, InputError, MachineError, RequestError
from harness.core.folds import fold
from harness.core.prompts import PromptTable, TaskPrompts, instructed_queries
from harness.data.types import ClassificationData, ClusteringData, LabelledTexts, PairData, RerankingData, RerankingSample, RetrievalData
from harness.evaluate.score.adapter import EmbeddingModel, RetrievalModel
from harness.evaluate.score.mteb2 import MTEB2
from harness.evaluate.score.reference import check_scoring_packages, fresh_task, load_reference
from harness.evaluate.score.tasks import MTEB1, planned_texts

BENCHMARK = load_benchmark()
ONE_OF_EACH = ["Waimai", "MassiveIntentClassification", "CLSClusteringS2S", "Ocnli", "T2Reranking", "EcomRetrieval", "STS22"]
TEXTS = ["一", "二二", "三三三", "四", "五五五五五五"]


def embedding_model(dtype: torch.dtype = torch.float32, *, encode=None, dim=None, scoring="float32", instruction=None) -> EmbeddingModel:
    prompts = TaskPrompts(query=instruction or "")
    return EmbeddingModel(encode or hashed_encoder(dtype), dim=dim, dtype=scoring, prompts=prompts, search="reference")


def score(name: str, data=None, model=None) -> dict:
    task = BENCHMARK.task(name)
    return MTEB1.score(task, data or make_data(task), model or embedding_model()).metrics


def generator_states() -> tuple:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


class TestAdapter:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("dim", [None, 5, 16])
    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_bits_are_those_of_sentence_transformers(self, dtype, dim, as_tensor) -> None:
        from sentence_transformers import SentenceTransformer

        class Raw(torch.nn.Module):
            """The last module of a model: the raw vectors of the numbers in `features`."""

            modalities = ("text",)
            max_seq_length = None

            def preprocess(self, inputs: list[str], **_) -> dict[str, torch.Tensor]:
                return {"input_ids": torch.tensor([[TEXTS.index(text)] for text in inputs])}

            def forward(self, features: dict[str, torch.Tensor], **_) -> dict[str, torch.Tensor]:
                return {**features, "sentence_embedding": raw[features["input_ids"][:, 0]]}

        raw = torch.randn(len(TEXTS), 24, generator=torch.Generator().manual_seed(1)).to(dtype) * 7
        theirs = SentenceTransformer(modules=[Raw()], device="cpu").encode(
            TEXTS, batch_size=2, normalize_embeddings=True, truncate_dim=dim, convert_to_tensor=as_tensor
        )
        model = embedding_model(encode=lambda texts: raw[[TEXTS.index(text) for text in texts]], dim=dim, scoring="model")
        ours = model.encode(TEXTS, convert_to_tensor=as_tensor)
        assert type(ours) is type(theirs)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours.float(), theirs.float()) if as_tensor else np.array_equal(ours, theirs)

    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_float32_scoring_widens_what_the_model_dtype_gave(self, as_tensor) -> None:
        half = embedding_model(torch.float16, scoring="model").encode(TEXTS, convert_to_tensor=True)
        wide = embedding_model(torch.float16).encode(TEXTS, convert_to_tensor=as_tensor)
        assert str(wide.dtype).endswith("float32")
        assert np.array_equal(wide, half.float().numpy())

    def test_a_vector_does_not_depend_on_its_neighbours(self) -> None:
        model = embedding_model(torch.float16, scoring="model", dim=7)
        together = model.encode(TEXTS)
        assert all(np.array_equal(model.encode([text])[0], row) for text, row in zip(TEXTS, together, strict=True))

    def test_title_and_text_are_joined_and_the_instruction_is_put_before_queries_only(self) -> None:
        asked: list[str] = []

        def encode(texts: Sequence[str]) -> torch.Tensor:
            asked.extend(texts)
            return torch.ones(len(texts), 4)

        retrieval = RetrievalModel(embedding_model(encode=encode, instruction="找:"))
        retrieval.encode_queries([" 问 "], batch_size=128, show_progress_bar=True, convert_to_tensor=True)
        retrieval.encode_corpus([{"title": "题", "text": "文 "}, {"text": " 文"}, {"title": "", "text": "文"}], batch_size=128)
        assert asked == ["找: 问 ", "题 文", "文", "文"]

    def test_the_instruction_stays_out_of_every_other_type(self) -> None:
        for name in ONE_OF_EACH:
            task = BENCHMARK.task(name)
            data = make_data(task)
            plain, instructed = (planned_texts(task, data, table.of(task)) for table in (PromptTable(), instructed_queries("找:")))
            assert (plain != instructed) == (task.type == "Retrieval")

    @pytest.mark.parametrize(
        ("name", "role"), [("T2Reranking", "query"), ("T2Reranking", "passage"), ("EcomRetrieval", "passage"), ("STSB", "text")]
    )
    def test_prompts_go_before_the_texts_of_their_role_as_planned(self, name: str, role: str) -> None:
        task, prompts = BENCHMARK.task(name), TaskPrompts(**{role: "前:"})
        data, asked = make_data(task), []

        def encode(texts: Sequence[str]) -> torch.Tensor:
            asked.extend(texts)
            return hashed_encoder(torch.float32)(texts)

        for search in ("reference", "exact"):
            model = EmbeddingModel(encode, dim=None, dtype="float32", prompts=prompts, search=search)
            assert score(name, data, model) != score(name, data)
        assert set(asked) == set(planned_texts(task, data, prompts))
        assert 0 < sum(text.startswith("前:") for text in set(asked)) <= len(set(asked))

    def test_retrieval_gets_arrays_even_when_tensors_are_asked_for(self) -> None:
        model = RetrievalModel(embedding_model(torch.float16, scoring="model"))
        assert model.encode_queries(TEXTS, convert_to_tensor=True).dtype == np.float16

    def test_a_dim_beyond_the_models_is_a_request_error(self) -> None:
        with pytest.raises(RequestError, match=f"dim=1793: the model has {RAW_DIM} dimensions"):
            embedding_model(dim=1793).encode(TEXTS)
        with pytest.raises(RequestError, match="dim=0"):
            embedding_model(dim=0)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e4, 0.0])
    def test_a_vector_without_direction_is_named(self, bad) -> None:
        """3e4 in 24 dimensions is finite in fp16, but its length is not: it would normalise to zeros without a word."""

        def encode(texts: Sequence[str]) -> torch.Tensor:
            return torch.stack([torch.full((24,), bad if text == "三三三" else 1.0) for text in texts]).half()

        with pytest.raises(EncodingError, match=r"text 2 of 5 \('三三三'\)"):
            embedding_model(encode=encode).encode(TEXTS)


class TestPurity:
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_a_score_does_not_depend_on_what_went_before_and_leaves_no_trace(self, name) -> None:
        expected = score(name)
        score("Waimai" if name != "Waimai" else "CLSClusteringS2S")
        random.seed(1)
        np.random.seed(2)  # noqa: NPY002
        torch.manual_seed(3)
        before = generator_states()
        assert score(name) == expected
        planned_texts(BENCHMARK.task(name), make_data(BENCHMARK.task(name)), TaskPrompts())
        assert generator_states() == before

    @pytest.mark.parametrize("name", ["Waimai", "CLSClusteringS2S"])
    def test_an_encoder_that_draws_from_the_global_generators_moves_nothing(self, name) -> None:
        pure = hashed_encoder(torch.float32)

        def drawing(texts: Sequence[str]) -> torch.Tensor:
            np.random.random(7)  # noqa: NPY002
            random.random()
            return pure(texts)

        assert score(name, model=embedding_model(encode=drawing)) == score(name)

    def test_the_data_is_not_changed(self) -> None:
        for name in ONE_OF_EACH:
            task = BENCHMARK.task(name)
            data = make_data(task)
            MTEB1.score(task, data, embedding_model())
            assert data == make_data(task)

    def test_nothing_is_said_and_no_handler_stays(self, capfd, recwarn) -> None:
        handlers = logging.getLogger().handlers[:]
        for name in ONE_OF_EACH:
            score(name)
        assert capfd.readouterr() == ("", "")
        assert [str(warning.message) for warning in recwarn] == []
        assert logging.getLogger().handlers == handlers

    def test_warnings_of_the_encoder_pass(self) -> None:
        def warning(texts: Sequence[str]) -> torch.Tensor:
            warnings.warn("the tokenizer is odd", UserWarning, stacklevel=1)
            return hashed_encoder(torch.float32)(texts)

        with pytest.warns(UserWarning, match="the tokenizer is odd"):
            score("STS22", model=embedding_model(encode=warning))

    def test_a_launcher_that_sets_rank_does_not_change_the_search(self, monkeypatch) -> None:
        expected = score("EcomRetrieval")
        monkeypatch.setenv("RANK", "0")  # mteb would take BEIR's parallel search, which wants one process per GPU
        assert score("EcomRetrieval") == expected


class TestTraps:
    """By their numbers in docs/protocol.md; b3, b4 and b6 belong to the records and to the data."""

    def test_b1_the_installed_packages_are_the_pinned_ones(self) -> None:
        check_scoring_packages()
        assert SCORING_PINS["scikit-learn"] == "1.8.0"

    @pytest.mark.parametrize(("package", "found"), [("scikit-learn", "1.9.1"), ("beir", None)])
    def test_b1_b9_another_version_is_refused(self, monkeypatch, package, found) -> None:
        genuine = importlib.metadata.version

        def version(name: str) -> str:
            if name == package and found is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return found if name == package else genuine(name)

        monkeypatch.setattr("harness.evaluate.score.reference.version_of", version)
        with pytest.raises(MachineError, match=rf"{package}: found {found or 'none'}, expected {SCORING_PINS[package]}.*pip install"):
            score("STS22")

    @pytest.mark.parametrize("scoring", ["float32", "model"])
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_b2_metrics_are_plain_floats(self, name, scoring) -> None:
        def numbers(value):
            return [number for item in value.values() for number in numbers(item)] if isinstance(value, dict) else [value]

        metrics = score(name, model=embedding_model(torch.float16, scoring=scoring))
        assert {type(number) for number in numbers(metrics)} == {float}
        assert "evaluation_time" not in metrics

    @pytest.mark.parametrize("name", ["Waimai", "MassiveIntentClassification"])
    def test_b5_mteb_is_given_lists(self, monkeypatch, name) -> None:
        made = []
        genuine = scoring_tasks.fresh_task
        monkeypatch.setattr(scoring_tasks, "fresh_task", lambda task: made.append(genuine(task)) or made[-1])
        score(name)
        dataset = made[0].dataset.get(BENCHMARK.task(name).language, made[0].dataset)
        assert {type(column) for split in dataset.values() for column in split.values()} == {list}

    def test_a_fresh_task_is_what_the_cards_script_makes_with_the_generators_where_that_leaves_them(self) -> None:
        for task in (BENCHMARK.task(name) for name in ONE_OF_EACH):
            (theirs, *_) = load_reference()(tasks=[task.name], task_langs=["zh", "zh-CN"]).tasks
            seeded = generator_states()
            random.random(), torch.rand(1)
            ours = fresh_task(task)
            assert (type(ours), vars(ours), generator_states()) == (type(theirs), vars(theirs), seeded)

    def test_b7_the_task_is_evaluated_once(self) -> None:
        calls = []

        def counting(texts: Sequence[str]) -> torch.Tensor:
            calls.append(len(texts))
            return hashed_encoder(torch.float32)(texts)

        score("ATEC", model=embedding_model(encode=counting))
        assert calls == [80, 80]

    def test_b8_ties_of_half_precision_come_only_when_asked_for(self) -> None:
        """C_MTEB scores Reranking in the dtype of the tensors it is given: here apart in float32, equal in float16."""
        raw = {"问": [0.6, 0.8], "答": [1.0, 0.0505], "非": [1.0, 0.0500]}
        data = RerankingData([RerankingSample("问", ["答"], ["非"])])
        half = {
            scoring: score(
                "T2Reranking",
                data,
                embedding_model(encode=lambda texts: torch.tensor([raw[text] for text in texts]).half(), scoring=scoring),
            )
            for scoring in ("float32", "model")
        }
        assert half["float32"]["map"] == 1.0
        assert half["model"]["map"] == 0.5

    @pytest.mark.parametrize("name", ["AmazonReviewsClassification", "MassiveIntentClassification", "MassiveScenarioClassification"])
    def test_b10_only_the_split_of_the_card_is_scored_under_its_language(self, name) -> None:
        task = BENCHMARK.task(name)
        assert list(score(name)) == [task.language]
        assert task.split == "test"

    def test_b11_imports_are_lazy_and_quiet(self) -> None:
        program = (
            "import sys, harness.evaluate.score.tasks; assert not {'mteb', 'C_MTEB', 'beir', 'sklearn'} & set(sys.modules);"
            "from harness.evaluate.score.reference import fresh_task; from harness.core.benchmarks import load_benchmark;"
            "fresh_task(load_benchmark().task('STS22'))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "always::DeprecationWarning", "-c", program], capture_output=True, text=True, check=True
        )
        assert "sentence_transformers.models" not in done.stderr


def labelled(*labels) -> LabelledTexts:
    return LabelledTexts([f"文{index}" for index in range(len(labels))], list(labels))


GOOD = labelled(0, 1, 0, 1)
SAMPLE = RerankingSample("问", ["答"], ["非"])
DEGENERATE = [
    ("Waimai", ClassificationData(labelled(1, 1, 1), GOOD), r"labels of one class \(1\) in the training split"),
    ("Waimai", ClassificationData(GOOD, labelled(0, 0)), r"labels of one class \(0\) in the test split"),
    ("Waimai", ClassificationData(GOOD, labelled()), r"labels of one class \(no row\) in the test split"),
    ("Waimai", ClassificationData(labelled("好", "坏"), labelled("好", "坏")), "expected 0 and 1"),
    ("Waimai", ClassificationData(GOOD, labelled(0, 1, 2)), r"label 2 .* not in the training split"),
    (
        "TNews",
        ClassificationData(labelled(0, 1, 2), labelled("0", "1")),
        r"no label of the validation split \('0', '1'\) is among .* \(0, 1, 2\)",
    ),
    ("CLSClusteringS2S", ClusteringData([GOOD, labelled("a", "a")]), r"labels of one class \(a\) in set 2"),
    ("CLSClusteringS2S", ClusteringData([]), "no set to cluster"),
    ("Ocnli", PairData(["a", "b"], ["c", "d"], [1, 1]), r"pair labels \[1\], expected 0 and 1, both"),
    ("Ocnli", PairData(["a", "b", "c"], ["c", "d", "e"], [0, 1, 2]), r"pair labels \[0, 1, 2\]"),
    ("ATEC", PairData(["a", "b"], ["c", "d"], [0.5, 0.5]), "gold scores have fewer than two values"),
    ("ATEC", PairData([], [], []), "gold scores have fewer than two values"),
    ("T2Reranking", RerankingData([RerankingSample("问", ["答"], []), RerankingSample("问", [], ["非"])]), "no sample has both"),
    ("EcomRetrieval", RetrievalData({}, {"q": "问", "r": "问"}, {"q": {"p": 1}}), "corpus is empty"),
    ("EcomRetrieval", RetrievalData({"p": "文"}, {"q": "问"}, {"q": {"p": 1}}), "found 1 queries, expected two or more"),
    ("EcomRetrieval", RetrievalData({"p": "文"}, {"q": "问", "r": "问"}, {"s": {"p": 1}}), "no query has a judged passage"),
    ("EcomRetrieval", RetrievalData({"p": "文"}, {"q": "问", "r": "问"}, {"q": {"p": 0}, "r": {}}), "every judgement is 0"),
    ("EcomRetrieval", RerankingData([SAMPLE]), "found RerankingData, expected RetrievalData"),
]


@pytest.mark.parametrize("search", ["reference", "exact"])
@pytest.mark.parametrize(("name", "data", "message"), DEGENERATE)
def test_data_without_a_score_is_refused_by_name_before_encoding(name, data, message, search) -> None:
    def encode(texts: Sequence[str]) -> torch.Tensor:
        raise AssertionError(texts)

    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        score(name, data, EmbeddingModel(encode, dim=None, dtype="float32", search=search))


CORPUS, ASKED = {"p": "文", "r": "字"}, {"q": "问", "r": "问"}
ODD = [  # data, and why mteb 1.1.1 and mteb 2.26.24 can't score it; None: it has a score
    ("TNews", ClassificationData(labelled(0, 2, 3), labelled(2, 3)), None, "the average precision of 1"),
    ("TNews", ClassificationData(labelled("a", "b", "c"), labelled("a", "b")), None, "the average precision of 1"),
    ("TNews", ClassificationData(labelled(0, 1, 2), labelled(0, 5)), None, "the average precision of 1"),
    ("TNews", ClassificationData(labelled(0, 1, 2), labelled(1, 5)), None, None),
    ("TNews", ClassificationData(labelled(2, 3), labelled(2, 3)), "expected 0 and 1", "the average precision of 1"),
    ("TNews", ClassificationData(labelled(2, 3), labelled(2, 3, 4)), "expected 0 and 1", None),
    ("TNews", ClassificationData(GOOD, labelled(0, 1, 2)), "label 2 .* not in the training", None),
    ("TNews", ClassificationData(labelled(np.int64(0), np.int64(1)), GOOD), None, None),
    *(
        (("TNews", ClassificationData(labelled(*wrong), GOOD), *["expected integers or text"] * 2))
        for wrong in ((False, True), (None, 1), (0.5, 1), (1, "1"))
    ),
    ("CLSClusteringS2S", ClusteringData([labelled(None, 1)]), *["expected integers or text"] * 2),
    ("CLSClusteringS2S", ClusteringData([labelled(0, 1)]), None, None),
    ("Ocnli", PairData(["a", "b"], ["c", "d"], [0, 2]), *[r"pair labels \[0, 2\]"] * 2),
    ("Ocnli", PairData(["a", "a"], ["a", "a"], [0, 1]), None, None),
    *(("ATEC", PairData(["a", "b"], ["c", "d"], [wrong, 1]), *["NaN or infinite"] * 2) for wrong in (float("nan"), float("inf"))),
    ("ATEC", PairData(["a", "b"], ["a", "b"], [0, 1]), *["each of a text with itself"] * 2),
    ("ATEC", PairData(["a", "b"], ["b", "a"], [0, 1]), *["the same two texts"] * 2),
    ("ATEC", PairData(["a", "a"], ["a", "b"], [0, 1]), None, None),
    ("T2Reranking", RerankingData([RerankingSample("", [""], [" "])]), None, None),
    ("EcomRetrieval", RetrievalData(CORPUS, {"q": "问"}, {"q": {"p": 1}}), "found 1 queries", None),
    ("EcomRetrieval", RetrievalData(CORPUS, {}, {}), "found 0 queries", "no query has a judged passage"),
    ("EcomRetrieval", RetrievalData(CORPUS, ASKED, {"q": {}, "r": {}}), *["no query has a judged passage"] * 2),
    ("EcomRetrieval", RetrievalData(CORPUS, ASKED, {"q": {"s": 1}, "r": {"p": -1}}), None, None),
    ("EcomRetrieval", RetrievalData({"r": "文"}, ASKED, {"q": {"r": 1}, "r": {"r": 1}}), None, None),
]


@pytest.mark.parametrize(("scorer", "wrong"), [(MTEB1, 2), (MTEB2, 3)], ids=["mteb1", "mteb2"])
@pytest.mark.parametrize("odd", ODD, ids=[f"{number}-{odd[0]}" for number, odd in enumerate(ODD)])
def test_odd_data_is_refused_before_encoding_or_has_a_score(odd, scorer, wrong) -> None:
    task, data = BENCHMARK.task(odd[0]), odd[1]
    if odd[wrong]:
        with pytest.raises(InputError, match=f"{task.name}: .*{odd[wrong]}"):
            scorer.texts(task, data, TaskPrompts())
    else:
        assert scorer.texts(task, data, TaskPrompts())
        assert 0 <= abs(fold(task, scorer.score(task, data, embedding_model()).examples)) <= 1


@pytest.mark.parametrize("made", [lambda: PairData(["a", "b"], ["c"], [0, 1]), lambda: LabelledTexts(["a", "b"], [0])])
def test_data_of_unequal_lengths_is_none(made) -> None:
    with pytest.raises(InputError, match=r"found 2 \w+, 1 .*expected as many of each"):
        made()


def test_a_model_that_sees_no_difference_gives_an_error_not_nan() -> None:
    blind = embedding_model(encode=lambda texts: torch.ones(len(texts), 4))
    with pytest.raises(InputError, match=r"ATEC: cos_sim\.\w+ is nan: all pairs have the same similarity"):
        score("ATEC", model=blind)


def test_a_text_that_was_not_planned_is_encoded_all_the_same() -> None:
    """Planning is for speed: training rows beyond the sampled ones are planned for no experiment, and asked for by none."""
    task = BENCHMARK.task("Waimai")
    data = make_data(task)
    few = dataclasses.replace(data, train=LabelledTexts(data.train.texts * 30, data.train.labels * 30))
    planned = planned_texts(task, few, TaskPrompts())
    assert len(set(planned) - set(data.test.texts)) <= 2 * 32 * 10
    assert set(data.test.texts) <= set(planned)
