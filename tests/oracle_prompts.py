"""Run by an environment with mteb 2.26.24: `python oracle_prompts.py FOLDER < TABLES` prints what stands before texts of tasks, by role,
when its wrapper runs a copy of the SentenceTransformer in FOLDER whose `config_sentence_transformers.json` is each of the tables."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mteb
import torch
from mteb.models import SentenceTransformerEncoderWrapper
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer

ROLES = {"query": PromptType.query, "passage": PromptType.document, "text": None}


class Inputs(list[dict[str, list[str]]]):
    """What mteb hands to a wrapper, as far as that looks."""

    class dataset:  # noqa: N801
        features = ("text",)


def prompts_of(folder: Path, tasks: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    seen: list[str | None] = []

    def inference(inputs: list[str], *, prompt: str | None, **_: Any) -> torch.Tensor:
        seen.append(prompt)
        return torch.zeros(len(inputs), 4)

    model._inference = inference  # type: ignore[method-assign]
    wrapper = SentenceTransformerEncoderWrapper(model)
    found: dict[str, dict[str, str]] = {}
    for name, roles in tasks.items():
        metadata = mteb.get_task(name).metadata
        for role in roles:
            inputs: Any = Inputs([{"text": ["x"]}])
            wrapper.encode(inputs, task_metadata=metadata, hf_split="test", hf_subset="default", prompt_type=ROLES[role])
            found.setdefault(name, {})[role] = seen[-1] or ""
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model"
        shutil.copytree(sys.argv[1], copy)
        for table in asked["tables"]:
            (copy / "config_sentence_transformers.json").write_text(json.dumps(table), encoding="utf-8")
            print(json.dumps(prompts_of(copy, asked["tasks"])), flush=True)
