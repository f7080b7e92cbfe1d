"""One part of a run's vectors goes into the shared store (`python -m harness encode shard=3/16`); a run then finds them there.

Nothing is scored, and no run folder is written: any number of parts are encoded at once, on as many machines of one kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.core.costs import Counters
from harness.core.errors import EncodingError, RequestError, described
from harness.core.shard import Shard
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.evaluation import ReadTask, encode_windows
from harness.evaluate.prepared import prepare
from harness.evaluate.progress import Progress
from harness.evaluate.score.scorer import run_scorer


@dataclass(frozen=True, kw_only=True)
class EncodedPart:
    """What encoding a part came to. `failed`: task -> error; their texts may be missing in the store."""

    shard: Shard
    store: Path
    tasks: tuple[str, ...]
    failed: dict[str, str]
    cost: Counters


def encode_part(spec: RunSpec, device: torch.device, progress: Progress, *, encoders: EncoderPool | None = None) -> EncodedPart:
    """Encode the texts of `spec.shard` of every task that has no record yet; without a shard, all of them.

    Raises:
        RequestError: there is no store to put vectors into.
        InputError, MachineError: the model can't be loaded, or the store can't be written. A task's own errors are in the result.
        CanaryError: the model does not encode as it should.
    """
    if (store := spec.store) is None:
        raise RequestError("encode puts vectors into the store, and store=null keeps none: give store=DIR, a folder that the run sees too")
    shard = Shard.parse(spec.shard or "1/1")
    prepared = prepare(spec)
    spec, agenda = prepared.spec, prepared.agenda
    progress.plan(agenda.todo, prepared.done)
    if not agenda.todo:
        return EncodedPart(shard=shard, store=store, tasks=(), failed={}, cost=Counters())
    encoders = encoders or EncoderPool(store_required=True)
    encoder = encoders.encoder(spec, device)
    encoders.check(spec, device)
    before, scorer = encoder.counters, run_scorer(spec)
    failed: dict[str, str] = {}

    def read(task: TaskSpec) -> ReadTask:
        loaded = load_task(task, spec.data)
        shared = agenda.shared(task, loaded, encoder.fingerprint.digest)
        texts = [] if shared else scorer.texts(task, loaded.data, prepared.prompts.of(task))
        return ReadTask(task=task, loaded=loaded, texts=[text for text in texts if shard.has(text)], seconds=0.0)

    def fail(tasks: Sequence[TaskSpec], error: Exception) -> None:
        for task in tasks:
            failed[task.name] = message = described(error)
            progress.finished(task, score=None, error=message)

    for _ in encode_windows(spec, agenda.todo, read, encoder, progress, failed=fail, survived=EncodingError):
        pass  # the vectors are in the store
    done = tuple(task.name for task in agenda.todo if task.name not in failed)
    return EncodedPart(shard=shard, store=store, tasks=done, failed=failed, cost=encoder.counters - before)
