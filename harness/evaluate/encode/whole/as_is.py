"""The kind `reference`: any SentenceTransformer, run as sentence-transformers runs it, in batches of texts of equal length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from harness.core.errors import RequestError
from harness.core.spec import Dtype, ModelSpec
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Checked
from harness.evaluate.encode.model.locate import LocatedModel, listed_modules, stored_tensors, transformer_folder
from harness.evaluate.encode.model.outline import TAIL, does_not_load, empty_transformer, read_tail
from harness.evaluate.encode.model.own import refuse_roles
from harness.evaluate.encode.whole.by_text import TextEncoder, measure_repeatability, prove_store
from harness.evaluate.encode.whole.kind import WholeKind, positions_of, token_counts


def text_counts(first: Any, texts: Sequence[str]) -> IntArray:
    """Tokens of the texts before cutting, as the first module makes them: a Transformer, or a StaticEmbedding, which takes no special
    tokens and may be its tokenizer alone; characters for any other."""
    if isinstance(first, Transformer):
        return token_counts(first, texts)
    tokenizer = getattr(first, "tokenizer", first)
    if isinstance(tokenizer, Tokenizer):
        tokenizer.no_truncation()
        return np.array([len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)], dtype=np.int64)
    if hasattr(tokenizer, "num_special_tokens_to_add") and texts:
        return np.array([len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]], dtype=np.int64)
    return np.array([len(text) for text in texts], dtype=np.int64)


class Reference(WholeKind):
    """A SentenceTransformer folder, whatever its modules are."""

    sketched = True
    name, maker, count = "reference", SentenceTransformer, staticmethod(text_counts)

    def refuse(self, located: LocatedModel, model: ModelSpec) -> None:
        """Refuse what the base does, and modules or lengths by role; raises as `refuse_roles` does."""
        refuse_roles(located)
        super().refuse(located, model)

    def prepare(self, model: Any, located: LocatedModel, dtype: Dtype) -> None:
        """Give the numbers the dtype, but for those that transformers has loaded in it and keeps in another (T5's `wo` in fp32).

        Raises:
            RequestError: a module makes another vector of a text for another `task`, which `encode_query` and `encode_document` name.
        """
        if "task" in model.get_model_kwargs():
            raise RequestError(
                f"model {located.name!r} has a module that asks for a task, and makes another vector of a text for each: here a text has "
                "one vector, whatever it is for, so no model.kind runs it. Serve it with one task, and use model.kind=endpoint"
            )
        loaded = [part for part in model.modules() if isinstance(part, PreTrainedModel) and part.dtype == TORCH_DTYPE[dtype]]
        done = {id(parameter) for part in loaded for parameter in part.parameters()}
        for parameter in model.parameters():
            if parameter.is_floating_point() and id(parameter) not in done:
                parameter.data = parameter.data.to(TORCH_DTYPE[dtype])
        model.truncate_dim = None  # vectors are whole, and `dim=` cuts them

    def describe(self, model: Any) -> tuple[str, ...]:
        """As `WholeKind` says."""
        return tuple(type(module).__name__ for module in model.children())

    def run(self, model: Any, texts: list[str], *, max_len: int, rows: int) -> torch.Tensor:
        """The vectors [n, dim]."""
        if isinstance(model.tokenizer, Tokenizer):
            model.tokenizer.enable_truncation(max_len)
        else:
            model.max_seq_length = max_len
        found: torch.Tensor = model.encode(
            texts, batch_size=rows, convert_to_tensor=True, show_progress_bar=False, normalize_embeddings=False
        )
        return found

    def measure(self, encoder: TextEncoder) -> Checked:
        """Of the canary's texts; raises as `measure_repeatability` does."""
        return measure_repeatability(encoder, what=f"{encoder.fingerprint.model} as sentence-transformers runs it")

    def prove_store(self, encoder: TextEncoder) -> None:
        """By the canary's texts; raises as `by_text.prove_store` does."""
        prove_store(encoder)

    def first_module(self, located: LocatedModel, model: ModelSpec) -> tuple[Any, int | None, int | None]:
        """Of the modules that are known."""
        first, *others = [module.kind.rpartition(".")[2] for module in listed_modules(located.folder)]
        folder = transformer_folder(located.folder)
        simple = set(others) <= set(TAIL)
        if first == "Transformer":
            empty = empty_transformer(located, model)
            return empty, positions_of(empty.config), read_tail(located, empty.get_embedding_dimension())[1] if simple else None
        if first == "StaticEmbedding":
            tables = [shape for path in folder.glob("*.safetensors") for shape in stored_tensors(path).values() if len(shape) == 2]
            try:
                tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            except Exception as error:  # tokenizers raises it bare
                raise does_not_load(folder, error) from error
            return tokenizer, None, read_tail(located, tables[0][1])[1] if simple and tables else None
        return None, None, None


REFERENCE = Reference()
