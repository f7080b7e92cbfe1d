"""Which prompts a run puts before its texts, and what the model's own files say that the run does not use."""

from dataclasses import replace

from harness.core.errors import RequestError
from harness.core.formatting import few, one_line
from harness.core.prompts import PromptTable, instructed_queries
from harness.core.spec import Settings
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.score.scorer import scorer_name

_SHOWN = 40  # characters of a prompt


def run_prompts(spec: Settings, own: OwnSettings) -> PromptTable:
    """The prompts of a run; `own`: what the model's files say.

    Raises:
        RequestError: the model has a default prompt and the run says nothing of prompts; or it has none and they were asked for; or its
            Pooling leaves the tokens of a prompt out, which here are tokens of the text.
    """
    table = _asked_prompts(spec, own)
    if table != PromptTable() and not own.include_prompt:
        raise RequestError(
            f"the Pooling of {spec.model.name} leaves the tokens of a prompt out (include_prompt is false in its config.json), and a run "
            "pools all tokens of a text: say prompts=none, or set include_prompt to true in a copy of the model"
        )
    return table


def _asked_prompts(spec: Settings, own: OwnSettings) -> PromptTable:
    asked = spec.prompts
    if asked.table is not None:
        return asked.table
    if asked.source == "model":
        if not own.spoken:
            raise RequestError(f"prompts=model: the files of {spec.model.name} have no prompts: say prompts=none, or name a file")
        if own.as_message:
            raise RequestError(
                f"prompts=model: {spec.model.name} has a chat template, in which its prompt is a message of its own, and here prompts are "
                "joined to texts: say prompts=none, or name a file with what goes before queries"
            )
        return own.table
    if asked.source is None and own.default_prompt is not None:
        raise RequestError(
            f"model {spec.model.name!r} puts its default prompt {own.prompts[own.default_prompt]!r} before every text, which this run "
            "would leave out: say prompts=model to use its prompts, or prompts=none to run it without"
        )
    return instructed_queries(spec.model.query_instruction) if spec.model.query_instruction else PromptTable()


def unused_settings(spec: Settings, own: OwnSettings) -> tuple[str, ...]:
    """What the model's files say and the run does not use, a sentence each."""
    said = []
    if own.spoken and spec.prompts.source in (None, "none"):
        some = few([f"{name} {_short(prompt)}" for name, prompt in own.spoken.items()], 2)
        instead = " (model.query_instruction is)" if spec.model.query_instruction else ""
        said.append(f"the model brings prompts that are not used{instead}: {some}. prompts=model uses them")
    if own.unreached and spec.prompts.source == "model" and spec.prompts.table is None:
        name, prompt = next(iter(own.unreached.items()))
        said.append(
            f"the model's prompt {name} {_short(prompt)} goes before no passage, as in mteb 2: sentence-transformers 6.2 takes document "
            "first, which is empty. A file puts it there: prompts=FILE.yaml, with the line passage: TEXT"
        )
    if own.max_seq_length is not None and own.max_seq_length < spec.max_len:
        said.append(f"the model's own max_seq_length is {own.max_seq_length}, this run takes max_len={spec.max_len}")
    if own.code and not spec.model.trust_remote_code:
        runs = "model.kind=reference model.trust_remote_code=true runs it"
        said.append(f"the model brings code of its own ({few(own.code, 2)}), in the place of which transformers' runs: {runs}")
    if spec.model.kind == "endpoint" and scorer_name(spec) == "mteb2":
        said.append(
            "scorer mteb2 fits classifiers and clusters on vectors as they come, and most servers normalise them: for a model without a "
            "Normalize module these tasks are off by points"
        )
    if own.similarity != "cosine" and (scorer := scorer_name(spec)) == "mteb1":
        said.append(f"the model's own similarity is {own.similarity}; scorer {scorer} ranks by the cosine")
    if own.truncate_dim is not None and (spec.dim is None or spec.dim > own.truncate_dim):
        taken = spec.dim or "all"
        said.append(f"the model's own truncate_dim is {own.truncate_dim}, this run takes {taken} dimensions: dim={own.truncate_dim} cuts")
    return tuple(said)


def prompt_notes(spec: Settings, table: PromptTable) -> tuple[str, ...]:
    """What a reader of scores must know of the prompts, a sentence; nothing where there are none but `model.query_instruction`."""
    if spec.prompts.source in (None, "none"):
        return ()
    where = "of the model" if spec.prompts.source == "model" else "of a file"
    some = [f"{role} {_short(prompt)}" for role in ("query", "passage", "text") if (prompt := getattr(table, role))]
    if table.tasks:
        before = f" in {_short(table.template)}" if table != replace(table, template=PromptTable.template) else ""
        some.append(f"instructions of {len(table.tasks)} tasks or types{before}")
    return (f"prompts {where}: {', '.join(some)}",)


def _short(prompt: str) -> str:
    text = one_line(repr(prompt))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[-1]}"
