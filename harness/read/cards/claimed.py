"""Model cards as runs: the scores that a front matter claims. No scale is guessed: cards are 0 to 100, as mteb writes them."""

from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.formatting import amount, counted
from harness.core.records import Made, Manifest, Origin, Provenance, RowHeader, Run, TaskRecord
from harness.core.tasks import TaskSpec
from harness.read.cards.entries import Claim
from harness.read.cards.page import CardClaims, card_claims, read_card, unit_metrics

_SOURCE = "self-reported: front matter of a model card"


def read_card_run(path: Path, benchmark: Benchmark) -> Run:
    """The front matter of a model card as a run; a task without a usable main metric is named under `broken`.

    Raises:
        InputError: the card can't be read, claims no task of the benchmark, or is not in percent.
    """
    found = named_claims(path, read_card(path), benchmark)
    records = {name: record for name, record in card_records(found, benchmark).items() if name not in found.broken}
    broken = dict(found.broken)
    notes = [f"{_SOURCE}, not run by this harness; GPU, dtype, length and dimension are not stated there"]
    small = [claim.task for claim in found.claims if max(map(abs, claim.metrics.values()), default=0) <= 1]
    if small:
        notes.append(f"taken for percentages as the rest of the card, though no number is above 1: {', '.join(small)}")
    silent = [name for name, record in records.items() if record.dataset_revision is None]
    if silent:
        notes.append(f"the revision of the data is not stated for {len(silent)} of {amount(len(records), 'task')}")
    if found.foreign:
        notes.append(f"no task of the benchmark, another language or another split: {counted(found.foreign)}")
    header = RowHeader.unknown(found.model, *notes, *found.notes)
    return Run(path, Manifest(header=header), records, broken=broken, other_definitions=dict(found.other_definitions))


def named_claims(path: Path, text: str, benchmark: Benchmark) -> CardClaims:
    """`card_claims` of the text of a card.

    Raises:
        InputError: the card can't be read, or no number of any claim is above 1: mteb's cards are in percent, and 0.8 would be read as
            0.8 percent. The message names the path.
    """
    try:
        found = card_claims(text, benchmark)
        _refuse_fractions(found, benchmark)
        return found
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def card_records(found: CardClaims, benchmark: Benchmark) -> dict[str, TaskRecord]:
    """The claims of a card as records, those without a main metric among them."""
    return {claim.task: _claimed(claim, benchmark.task(claim.task)) for claim in found.claims}


def _refuse_fractions(found: CardClaims, benchmark: Benchmark) -> None:
    numbers = [abs(value) for claim in found.claims for value in claim.metrics.values()]
    if numbers and max(numbers) <= 1:
        raise InputError(
            f"no number that the card of {found.model} claims for {benchmark.name} is above 1 (the largest is {max(numbers)}), and "
            "cards are in percent: multiply them by 100 where they are from 0 to 1"
        )


def _claimed(claim: Claim, task: TaskSpec) -> TaskRecord:
    revision = claim.revision
    return TaskRecord(
        task=claim.task,
        split=claim.split,
        metrics=unit_metrics(claim, task),
        dataset_revision=revision,
        evaluation_time=None,
        mteb_version=None,
        made=Made(
            source=_SOURCE,
            origin=Origin(trust="self-reported", form="model card"),
            data=Provenance(substituted=True) if revision not in (None, task.revision) else None,
        ),
    )
