"""The second chain: sentence-transformers called directly, which no code of this package loads, tokenises, batches or pools for.

What is compared with it must not come through it, so this module imports nothing of `harness` (a test reads its imports).
"""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from transformers.utils import logging

_BATCH = 8  # texts: sentence-transformers pads to the longest of a batch


def reference_vectors(
    folder: Path,
    texts: Sequence[str],
    *,
    max_len: int,
    weights: torch.dtype,
    arithmetic: torch.dtype,
    attention: str,
    device: torch.device,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
    add_eos_token: bool = False,
) -> torch.Tensor:
    """The raw vectors [n, dim] of the texts by the model in the folder, on the CPU; nothing of the model stays in memory.

    `weights`: what the stored numbers are rounded to before they are used; `arithmetic`: the dtype of the computation;
    `attention`: its implementation, as transformers calls it.

    Raises:
        torch.OutOfMemoryError: the device does not have enough memory for the model.
    """
    options = {"dtype": weights, "attn_implementation": attention, "use_safetensors": None if allow_pickle else True}
    with _undisturbed():
        chain = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            processor_kwargs={"add_eos_token": True} if add_eos_token else None,
            model_kwargs=options,
        )
        for parameter in chain.parameters():  # not the buffers: rotary frequencies are never rounded
            parameter.data = parameter.data.to(weights)
        chain = chain.to(arithmetic).eval()
        chain.max_seq_length, chain.truncate_dim = max_len, None  # vectors are whole
        chain.default_prompt_name = None  # prompts are in the texts
        try:
            vectors: torch.Tensor = chain.to(device).encode(
                list(texts), batch_size=_BATCH, convert_to_tensor=True, show_progress_bar=False, normalize_embeddings=False
            )
            return vectors.to(arithmetic).cpu()
        finally:
            del chain
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No progress bar, no report of unused tensors, nobody's random state moved by initial weights, and one thread: threads of products so
    small wait for each other, on busy cores ten times as long as they compute."""
    level, bar, threads = logging.get_verbosity(), logging.is_progress_bar_enabled(), torch.get_num_threads()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]), threadpool_limits(limits=1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(threads)
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
