"""The evaluation script that a card prints, read without running it: its options, which of them it reads, the dtypes it can make."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.core.dtypes import DTYPES, dtype_named
from harness.read.cards.markdown import CodeBlock

EVALUATORS = ("mteb", "C_MTEB")
"""Packages whose import makes a code block an evaluation script."""

_CASTS = ("half", "bfloat16", "float", "double")
_DTYPE_KEYWORDS = ("torch_dtype", "dtype", "precision")
_DTYPE_FLAGS = {"use_fp16": "float16", "fp16": "float16", "use_bf16": "bfloat16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Option:
    """An argument that the script's parser takes; `default`: None where there is none, or none that can be read without running it."""

    flag: str
    name: str
    default: object
    line: int


@dataclass(frozen=True, kw_only=True)
class Script:
    """`unread`: options that nothing reads (None: that can't be known). `dtypes`: those that weights or inputs are cast to (empty: none is
    named; None: it depends on what is not in the code). `settings`: constants that are assigned to attributes (`max_seq_length`).
    """

    line: int
    options: tuple[Option, ...]
    unread: tuple[Option, ...] | None
    dtypes: frozenset[str] | None
    settings: tuple[tuple[str, object, int], ...]


def evaluation_scripts(blocks: Sequence[CodeBlock]) -> tuple[tuple[Script, ...], tuple[str, ...]]:
    """The Python blocks that import an evaluation package, and why others that look so can't be read."""
    scripts, refused = [], []
    for block in blocks:
        if block.language not in ("python", "py", "python3", "") or not any(name in block.code for name in EVALUATORS):
            continue
        try:
            tree = ast.parse(block.code)
        except (SyntaxError, ValueError, RecursionError) as error:
            refused.append(f"the code in line {block.line} is no Python 3 ({error})")
            continue
        if any(name.split(".")[0] in EVALUATORS for name in _imports(tree)):
            options, read = tuple(_options(tree, block.line)), _read_names(tree)
            unread = None if read is None else tuple(option for option in options if option.name not in read)
            settings = tuple(_settings(tree, block.line))
            scripts.append(Script(line=block.line, options=options, unread=unread, dtypes=_dtypes(tree), settings=settings))
    return tuple(scripts), tuple(refused)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _options(tree: ast.Module, first: int) -> Iterator[Option]:
    for call in _calls(tree, "add_argument"):
        flags = [flag for arg in call.args if isinstance(flag := _constant(arg), str)]
        if flags:
            flag = next((flag for flag in flags if flag.startswith("--")), flags[0])
            given = {keyword.arg: _constant(keyword.value) for keyword in call.keywords}
            default = given.get("default", {"store_true": False, "store_false": True}.get(str(given.get("action"))))
            yield Option(flag, str(given.get("dest") or flag.lstrip("-").replace("-", "_")), default, first + call.lineno - 1)


def _read_names(tree: ast.Module) -> set[str] | None:
    """Every attribute that is read anywhere, and every constant name given to getattr; None where the arguments are read as a whole."""
    if list(_calls(tree, "vars")) or any(isinstance(node, ast.Attribute) and node.attr == "__dict__" for node in ast.walk(tree)):
        return None
    unpacked = [each.value for node in ast.walk(tree) if isinstance(node, ast.Call) for each in node.keywords if each.arg is None]
    if any(getattr(value, "id", "") != "kwargs" for value in unpacked):  # `**kwargs` are the function's own
        return None
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    for call in _calls(tree, "getattr"):
        name = _constant(call.args[1]) if len(call.args) > 1 else None
        if not isinstance(name, str):
            return None
        names.add(name)
    return names


def _dtypes(tree: ast.Module) -> frozenset[str] | None:
    found: set[str] = set()
    branches = [node for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp)) and not _is_main_guard(node)]
    conditional = {id(node) for branch in branches for node in ast.walk(branch)}
    for node in ast.walk(tree):
        names = list(_dtype_names(node))
        if "?" in names:
            return None
        found.update(names)
        if names and id(node) in conditional:
            found.add("float32")  # torch's own, where the branch is not taken
    return frozenset(found)


def _dtype_names(node: ast.AST) -> Iterator[str]:
    """The dtypes that a node names; `?` for one that only running it would show."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch" and (name := _spelled(node.attr)):
        yield name
    if not isinstance(node, ast.Call):
        return
    if isinstance(node.func, ast.Attribute) and node.func.attr in _CASTS and not node.args:
        yield _spelled(node.func.attr) or "?"
    for keyword in node.keywords:
        value = _constant(keyword.value)
        if keyword.arg in _DTYPE_KEYWORDS and not (isinstance(keyword.value, ast.Attribute) and _spelled(keyword.value.attr)):
            yield _spelled(str(value)) or "?"
        elif keyword.arg in _DTYPE_FLAGS and value is not False:
            yield _DTYPE_FLAGS[keyword.arg] if value is True else "?"


def _spelled(name: str) -> str | None:
    """The dtype as the card's table spells it. A script may name float64, which no run has."""
    found = dtype_named(name)
    return "float64" if name in ("float64", "double") else found and DTYPES[found].card


def _is_main_guard(node: ast.AST) -> bool:
    """`if __name__ == "__main__":` is no condition on a dtype."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and getattr(node.test.left, "id", "") == "__name__"


def _settings(tree: ast.Module, first: int) -> Iterator[tuple[str, object, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _constant(node.value) is not None:
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    yield target.attr, _constant(node.value), first + node.lineno - 1


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            yield node


def _constant(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None
