"""What a model's own files say of how its makers run it, beside how it computes: its prompts, where it cuts texts, how vectors compare."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core.errors import InputError, RequestError
from harness.core.prompts import PromptTable, named_prompts
from harness.evaluate.encode.model.locate import LocatedModel, listed_modules, read_object, transformer_folder

_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")  # that sentence-transformers 6.2 knows; it takes any other for the first
_FIRST = tuple(f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"))
"""sentence-transformers 6.2 reads the first of them that is there and not empty."""
_BY_ROLE = ("Router", "Asym")
"""Modules of sentence-transformers that choose others by what a text is for; Asym is their name before version 5."""
_DENSE = "SentenceTransformer"
_CONFIG = ("config_args", "config_kwargs")
"""Keys of the first module's settings whose values go before those of config.json."""
_ROLE_LENGTHS = ("query_length", "document_length", "query_expansion")
"""Keys of sentence-transformers 6 for the first module, whose values it applies in `encode_query` and `encode_document` alone."""


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """`prompts`: by name, empty ones too, which mean that nothing goes there; `default_prompt`: the name of the one that
    sentence-transformers puts before every text, None where that is empty. `max_seq_length`: tokens that it cuts texts to; `truncate_dim`:
    numbers that it cuts vectors to; None where the folder does not say. `include_prompt`: whether its Pooling takes the tokens of a prompt,
    too. `similarity`: its `similarity_fn_name`. `as_message`: whether a chat template takes texts, and a prompt as one more message.
    `code`: classes of the folder's own, in the place of which transformers has some of its own."""

    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    max_seq_length: int | None = None
    truncate_dim: int | None = None
    include_prompt: bool = True
    similarity: str = "cosine"
    as_message: bool = False
    code: tuple[str, ...] = ()

    @property
    def spoken(self) -> dict[str, str]:
        """The prompts that are not empty."""
        return {name: prompt for name, prompt in self.prompts.items() if prompt}

    @property
    def unreached(self) -> dict[str, str]:
        """The prompts meant for passages that sentence-transformers 6.2 passes over, because it takes `document` first, empty or not."""
        return {} if self.prompts.get("document") else {name: self.spoken[name] for name in ("passage", "corpus") if name in self.spoken}

    @property
    def table(self) -> PromptTable:
        """The prompts as mteb 2 uses them."""
        return named_prompts(self.prompts, self.default_prompt)


@dataclass(frozen=True, kw_only=True)
class PairSettings(OwnSettings):
    """Those of a CrossEncoder."""

    @property
    def spoken(self) -> dict[str, str]:
        """The default prompt: mteb 2 asks for no other."""
        return {self.default_prompt: self.prompts[self.default_prompt]} if self.default_prompt else {}

    @property
    def unreached(self) -> dict[str, str]:
        """None: a candidate has no prompt."""
        return {}

    @property
    def table(self) -> PromptTable:
        """The default prompt before the first text of a pair, as `CrossEncoder.predict` puts it."""
        return PromptTable(query="".join(self.spoken.values()))


def read_pair_settings(located: LocatedModel) -> PairSettings:
    """The settings of a CrossEncoder folder; sentence-transformers reads prompts of its own kind of folder alone.

    Raises:
        InputError: a file is damaged.
    """
    own, folder = read_own_settings(located), located.folder
    path, tokenizer = folder / "config_sentence_transformers.json", transformer_folder(folder) / "tokenizer_config.json"
    read = (folder / "modules.json").is_file() and path.is_file() and read_object(path).get("model_type") == "CrossEncoder"
    template = tokenizer.is_file() and "chat_template" in read_object(tokenizer)
    return PairSettings(
        prompts=own.prompts if read else {},
        default_prompt=own.default_prompt if read else None,
        max_seq_length=own.max_seq_length,
        as_message=template or any(tokenizer.parent.glob("chat_template*")),
    )


def read_own_settings(located: LocatedModel) -> OwnSettings:
    """The settings of a SentenceTransformer folder.

    Raises:
        InputError: a file is damaged.
    """
    path = located.folder / "config_sentence_transformers.json"
    values = read_object(path) if path.is_file() else {}
    prompts, default, (_, first) = values.get("prompts") or {}, values.get("default_prompt_name"), first_settings(located.folder)
    if not isinstance(prompts, dict) or not isinstance(default, str | None):
        raise InputError(f"{path}: prompts is no object of texts, or default_prompt_name no name: download the model again")
    kept = {str(name): "" if prompt is None else str(prompt) for name, prompt in prompts.items()}
    return OwnSettings(
        prompts=kept,
        default_prompt=default if kept.get(default or "") else None,
        max_seq_length=_whole_number(first.get("max_seq_length")),
        truncate_dim=_whole_number(values.get("truncate_dim")),
        include_prompt=_include_prompt(located.folder),
        similarity=said if (said := values.get("similarity_fn_name")) in _SIMILARITIES else _SIMILARITIES[0],
        as_message="message" in ways if isinstance(ways := first.get("modality_config"), dict) else False,
        code=_own_code(transformer_folder(located.folder)),
    )


def _own_code(folder: Path) -> tuple[str, ...]:
    named = []
    for file, kind in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        found = read_object(folder / file).get("auto_map") if (folder / file).is_file() else None
        classes = found.get(kind) if isinstance(found, dict) else None
        named += [str(one) for one in (classes if isinstance(classes, list) else [classes]) if one]  # of a tokenizer a slow and a fast one
    return tuple(named)


def first_settings(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """The file with the settings of the first module, and what it says (nothing where there is none); raises InputError for damage."""
    places = [transformer_folder(folder) / name for name in _FIRST]
    read = ((path, read_object(path)) for path in places if path.is_file())
    return next(((path, values) for path, values in read if values), (places[0], {}))


def refuse_roles(located: LocatedModel) -> None:
    """Pass a folder that is a SentenceTransformer's, in which the vector of a text is the same for a query and for a passage.

    Raises:
        RequestError: it is not.
        InputError: modules.json, config_sentence_transformers.json or the first module's settings are damaged.
    """
    path = located.folder / "config_sentence_transformers.json"
    if (kind := (read_object(path) if path.is_file() else {}).get("model_type", _DENSE)) != _DENSE:
        raise RequestError(
            f"model {located.name!r} is a {kind} (model_type in {path}), and gives no one vector of a text: as a SentenceTransformer it "
            "would run without its own modules, as the mean of its tokens. model.kind=reranker runs a CrossEncoder, none the others"
        )
    for module in listed_modules(located.folder):
        if (kind := module.kind.rpartition(".")[2]) in _BY_ROLE:
            raise RequestError(
                f"model {located.name!r} has a {kind}, which chooses the modules of a text by whether it is a query or a passage, and here "
                "a text has one vector, whatever it is for: no model.kind runs it. Save the modules of one route as a SentenceTransformer "
                "of their own, and name that folder"
            )
    path, first = first_settings(located.folder)
    if named := [key for key in _ROLE_LENGTHS if first.get(key) is not None]:
        raise RequestError(
            f"model {located.name!r} makes queries of another length than passages ({', '.join(named)} in {path}), and here a text has "
            "one vector, whatever it is for: no model.kind runs it. Set them to null in a copy, and all texts are cut at max_len"
        )


def refuse_chunks(located: LocatedModel) -> None:
    """Pass a folder whose layers take all tokens of a text at once, or one by one.

    Raises:
        RequestError: they take so many at a time, and transformers 5.23 fails at a text whose number of tokens is no multiple of it.
        InputError: config.json or the first module's settings are damaged.
    """
    config, (path, first) = transformer_folder(located.folder) / "config.json", first_settings(located.folder)
    said = [(config, read_object(config))] if config.is_file() else []
    said += [(path, first[key]) for key in _CONFIG if isinstance(first.get(key), dict)]
    for path, values in said:
        if isinstance(chunk := values.get("chunk_size_feed_forward"), int) and chunk > 1:
            raise RequestError(
                f"model {located.name!r} takes {chunk} tokens of a text at a time (chunk_size_feed_forward in {path}), and transformers "
                "fails at a text whose number of tokens is no multiple of it, whatever model.kind is. Set it to 0 in a copy: chunks only "
                "save memory"
            )


def _whole_number(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _include_prompt(folder: Path) -> bool:
    configs = [folder / module.path / "config.json" for module in listed_modules(folder)[1:]]
    return all(read_object(path).get("include_prompt", True) is not False for path in configs if path.is_file())
