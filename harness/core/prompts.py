"""What is put before the texts of a task: prompts by role, from nowhere, from the model, or from a file.

A file (`prompts=FILE.yaml`) has any of the keys of `PromptTable`:

    template: "Instruct: {instruction}\\nQuery: "     # around the instructions of `tasks`
    passages: false                                  # whether passages take them too
    query: "查询："                                   # literal, where `tasks` has no instruction for the task
    passage: ""
    text: ""                                         # types without queries and passages: STS, pairs, classification, clustering
    tasks:
      T2Retrieval: Given a Chinese search query, retrieve web passages that answer the question
      STS: {text: "Retrieve semantically similar text. "}      # of a task or a type, by role: literal
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from harness.core.errors import RequestError, unknown
from harness.core.formatting import shortened
from harness.core.tasks import TASK_TYPES, TaskSpec, known_tasks
from harness.core.typed import convert

PromptSource = Literal["none", "model", "file"]

_SEARCHED = ("Retrieval", "Reranking")
_ROLES = ("query", "document", "passage", "corpus")
"""What models call prompts that are no task's and no type's."""


@dataclass(frozen=True, kw_only=True)
class TaskPrompts:
    """What is put before the texts of one task: `query` and `passage` of Retrieval and Reranking, `text` of other types. Empty: nothing."""

    query: str = ""
    passage: str = ""
    text: str = ""

    def stated(self) -> dict[str, str]:
        """Role -> prompt, where there is one."""
        return {role: prompt for role, prompt in asdict(self).items() if prompt}


@dataclass(frozen=True, kw_only=True)
class RolePrompts:
    """Literal prompts of a task or a type; None where it has none of its own and the more general one counts."""

    query: str | None = None
    passage: str | None = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class PromptTable:
    """Prompts of all tasks. `template` is put around the instructions of `tasks`, which go before queries and texts, and before passages
    where `passages` says so. `query`, `passage`, `text`: of tasks that `tasks` does not name, itself or by its type."""

    template: str = "{instruction}"
    passages: bool = False
    query: str = ""
    passage: str = ""
    text: str = ""
    tasks: Mapping[str, str | RolePrompts] = field(default_factory=dict)

    def of(self, task: TaskSpec) -> TaskPrompts:
        """The prompts of a task: by its name (mteb 1's or mteb 2's), else by its type, else those of the role."""
        entries = [self.tasks[name] for name in dict.fromkeys((task.name, task.mteb2_name, task.type)) if name in self.tasks]
        return TaskPrompts(**{role: self._prompt(role, entries) for role in _roles(task.type)})

    def _prompt(self, role: str, entries: list[str | RolePrompts]) -> str:
        for entry in entries:
            if isinstance(entry, RolePrompts):
                literal: str | None = getattr(entry, role)
                if literal is not None:
                    return literal
            elif role != "passage" or self.passages:
                return self.template.replace("{instruction}", entry) if entry else ""
            else:
                break
        general: str = getattr(self, role)
        return general


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Where a run's prompts come from. `source`: None where nothing was asked for (which a model with a default prompt refuses). `table`:
    of a file or of the registry; None where there are none, or where the model's own folder has them."""

    source: PromptSource | None = None
    table: PromptTable | None = None

    def identity(self) -> dict[str, Any] | None:
        """Plain values for the identity of a run; None without prompts."""
        return None if self.source in (None, "none") else asdict(self)


def prompts_from(text: str | None) -> Prompts:
    """What `prompts=` asks for: `none`, `model`, or a file.

    Raises:
        RequestError: the file is missing or is no table of prompts.
    """
    if not text:
        return Prompts()
    if text in ("none", "model"):
        return Prompts(source="model" if text == "model" else "none")
    return Prompts(source="file", table=_read_table(Path(text).expanduser()))


def named_prompts(prompts: Mapping[str, str], default: str | None) -> PromptTable:
    """The table that a SentenceTransformer folder's `prompts` come to when mteb 2 runs it.

    mteb 2.26.24 (`models/abs_encoder.py`, `get_prompt_name`) looks for `<task>-<role>`, `<task>`, `<type>-<role>`, `<type>` and `<role>`,
    roles being `query` and `document`, tasks by its own names; an empty prompt that it finds is one. sentence-transformers 6.2 gives every
    model a `query` and a `document`, empty where its folder has none, so that both roles always have a prompt: what `encode_document` would
    take next, `passage` and `corpus`, and the prompt called `default`, are reached by no query and no passage. Other types' texts have no
    role, and where mteb 2 finds nothing for them, `encode` takes `default`.
    """
    renamed = {name for name, row in known_tasks()["tasks"].items() if row.get("mteb2", {}).get("name", name) != name}
    tasks: dict[str, dict[str, str]] = {}
    for name, prompt in prompts.items():
        base, _, role = name.rpartition("-")
        if role in ("query", "document") and base:
            tasks.setdefault(base, {})["passage" if role == "document" else "query"] = prompt
        elif name not in _ROLES:
            own = tasks.setdefault(name, {})
            for each in ("query", "passage", "text"):
                own.setdefault(each, prompt)  # a composed name counts before the plain one, whichever comes first
    return PromptTable(
        query=prompts.get("query", ""),
        passage=prompts.get("document", ""),
        text=prompts.get(default, "") if default else "",
        tasks={name: RolePrompts(**roles) for name, roles in tasks.items() if name not in renamed},
    )


def instructed_queries(instruction: str) -> PromptTable:
    """The table of `model.query_instruction`: it goes before Retrieval queries and nothing else."""
    return PromptTable(tasks={"Retrieval": RolePrompts(query=instruction)})


def _read_table(path: Path) -> PromptTable:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"found {type(values).__name__}, expected keys and values")
        known = list(PromptTable.__dataclass_fields__)
        if strange := [str(key) for key in values if key not in known]:
            raise ValueError("; ".join(unknown("key", key, known) for key in strange))
        table = convert(values, PromptTable)
        if "{instruction}" not in table.template:
            raise ValueError(f"template {table.template!r} has no {{instruction}}")
    except OSError as error:
        raise RequestError(f"prompts={path}: {error.strerror}. Say prompts=none, prompts=model, or name a YAML file") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise RequestError(f"prompts={path} is no table of prompts ({shortened(str(error))}): docs/prompts.md has its form") from error
    return table


def name_problems(prompts: Prompts, tasks: Iterable[TaskSpec]) -> list[str]:
    """What of a file's `tasks` would be left out in silence, a sentence each: names that are no task, of `tasks` or of
    `configs/tasks.yaml`, and no type; and prompts for roles that the texts of a type do not have. The registry's tables have names of other
    benchmarks, too."""
    if prompts.source != "file" or prompts.table is None:
        return []
    kinds: dict[str, str] = {kind: kind for kind in TASK_TYPES}
    for name, row in known_tasks()["tasks"].items():
        kinds |= {name: row["type"], row.get("mteb2", {}).get("name", name): row["type"]}
    kinds |= {name: task.type for task in tasks for name in task.names}
    asked = prompts.table.tasks
    problems = [f"prompts: {unknown('task or task type', name, sorted(kinds))}" for name in asked if name not in kinds]
    for name, own in ((name, own) for name, own in asked.items() if name in kinds and isinstance(own, RolePrompts)):
        roles = _roles(kinds[name])
        if stray := [role for role, prompt in asdict(own).items() if prompt and role not in roles]:
            problems.append(f"prompts: {name} has no text for {stray[0]}, its roles are: {', '.join(roles)}")
    return problems


def _roles(kind: str) -> tuple[str, ...]:
    return ("query", "passage") if kind in _SEARCHED else ("text",)
