"""The kind `reranker`: a CrossEncoder, which scores pairs of texts. Its "vectors" have one number, and only Reranking tasks use it.

The forms are those that sentence-transformers loads: sequence classification (bge-reranker) and the two answer logits of a decoder
(Qwen3-Reranker). Scores are raw logits, of pairs of equal length in a batch; how repeatable they are is measured.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn

from harness.core.errors import CanaryError, RequestError
from harness.core.sketch import repeat_limit
from harness.core.spec import Dtype, ModelSpec
from harness.evaluate.encode.canary.canary import canary_texts, in_two_orders
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.encoder import Checked
from harness.evaluate.encode.model.locate import LocatedModel, all_files_digest
from harness.evaluate.encode.model.outline import empty_transformer
from harness.evaluate.encode.model.own import read_pair_settings
from harness.evaluate.encode.whole.by_text import ASKED_AGAIN, UNREPEATABLE, Proof, TextEncoder, prove
from harness.evaluate.encode.whole.kind import WholeKind, positions_of, token_counts
from harness.evaluate.encode.whole.pairs import pair_text, read_pair

_PAIRS = 128  # of the canary's texts


def pair_counts(first: Any, texts: Sequence[str]) -> IntArray:
    """Tokens of the pairs before cutting (`token_counts`)."""
    return token_counts(first, [read_pair(text) for text in texts])


class Reranker(WholeKind):
    """A CrossEncoder folder, many of which have no modules.json; only Reranking tasks, with scores kept by pair (`pairs.pair_text`)."""

    name, maker, marker = "reranker", CrossEncoder, "config.json"
    hash_files, read_settings, count = staticmethod(all_files_digest), staticmethod(read_pair_settings), staticmethod(pair_counts)
    any_text = pair_text("你好", "你好")

    def prepare(self, model: Any, located: LocatedModel, dtype: Dtype) -> None:
        """Pass a model that gives one score a pair; raises RequestError for another."""
        del dtype
        if model.num_labels != 1:
            raise RequestError(f"{located.folder} gives {model.num_labels} scores a pair, a reranker gives one")

    def describe(self, model: Any) -> tuple[str, ...]:
        """As `WholeKind` says."""
        del model
        return ("CrossEncoder",)

    def run(self, model: Any, texts: list[str], *, max_len: int, rows: int) -> torch.Tensor:
        """The scores [n, 1] of the pairs."""
        model.max_seq_length = max_len
        pairs = [read_pair(text) for text in texts]
        found: torch.Tensor = model.predict(
            pairs, batch_size=rows, show_progress_bar=False, activation_fn=nn.Identity(), convert_to_tensor=True
        )
        return found[:, None]

    def measure(self, encoder: TextEncoder) -> Checked:
        """Score pairs of the canary's texts twice, as `measure_repeatability` does texts; the floor is in standard deviations.

        Raises:
            CanaryError: scores move by more than `UNREPEATABLE`, or all pairs have one score.
            InputError: as `prove` raises it.
        """
        started = time.perf_counter()
        pairs = _canary_pairs()
        first, again = in_two_orders(encoder.compute, pairs, size=ASKED_AGAIN)
        spread = float(first.double().std())
        if not spread > 0:
            raise CanaryError(f"{encoder.fingerprint.model} gives all pairs one score, or none that is a number: is it a reranker?")
        floor = float((first.double() - again.double()).abs().max()) / spread
        if not floor <= UNREPEATABLE:
            raise CanaryError(f"{encoder.fingerprint.model} is not repeatable: a score moves by {floor:.1e} standard deviations")
        prove(encoder, Proof(texts=pairs, vectors=first, most=repeat_limit(floor), spread=spread))
        differing = int((first != again).sum())
        found = {"verdict": "passed", "texts": len(pairs), "rows_differing": differing, "floor": floor}
        notes = (f"{differing} of {len(pairs)} scores are not pure to the bit, they move by up to {floor:.1e} standard deviations",)
        return Checked(found=found, seconds=round(time.perf_counter() - started, 2), notes=notes if differing else ())

    def prove_store(self, encoder: TextEncoder) -> None:
        """By the canary's pairs; raises as `prove` does."""
        pairs = _canary_pairs()
        scores = encoder.compute(pairs)
        prove(encoder, Proof(texts=pairs, vectors=scores, most=repeat_limit(UNREPEATABLE), spread=float(scores.double().std())))

    def first_module(self, located: LocatedModel, model: ModelSpec) -> tuple[Any, int | None, int]:
        """As `WholeKind` says; raises as `empty_transformer` does."""
        first = empty_transformer(located, model)
        return first, positions_of(first.config), 1


def _canary_pairs() -> list[str]:
    texts = canary_texts()
    return [pair_text(texts[number], texts[-1 - number]) for number in range(_PAIRS)]


RERANKER = Reranker()
