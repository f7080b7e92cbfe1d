"""Where a model's folder is: a local path, an installed package, or the hub at a commit; and which weights lie in it."""

import hashlib
import importlib.resources
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from harness.core.errors import InputError, MachineError, RequestError, described
from harness.core.files import is_lfs_pointer, open_regular, sha256_file
from harness.core.formatting import without_passwords
from harness.core.spec import ModelSpec

_HUB_FILES = ("*.jinja", "*.json", "*.txt", "*.safetensors", "*.model")
_DECIDING = (".json", ".txt", ".model", ".jinja", ".py")  # suffixes of the tokenizer's and the modules' files
_HUB_PICKLES = ("pytorch_model*.bin", "*/pytorch_model.bin")


@dataclass(frozen=True, kw_only=True)
class LocatedModel:
    """A SentenceTransformer folder. `repository` and `commit` are known where it came from the hub."""

    name: str
    folder: Path
    source: Literal["path", "package", "hub"]
    repository: str | None
    commit: str | None


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The weight files of a folder. `sha256`: per file, by relative path. `stored_parameters`: numbers in the transformer's own files,
    buffers among them, as the hub's page counts them (a Dense layer's file is not in it)."""

    sha256: Mapping[str, str]
    stored_parameters: int | None

    @property
    def digest(self) -> str:
        """One SHA-256 for all files: that of the text `sha256sum` prints for them, sorted by path.

        `find . -name '*.safetensors' -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum` gives the same.
        """
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(self.sha256.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def find_model(model: ModelSpec, *, marker: str = "modules.json", download: bool = True) -> LocatedModel:
    """The folder that holds the model; `path` is taken before `package`, and that before `hub`. `marker`: the file that it must have.
    `download`: whether what is not in the hub's cache is fetched, or an error.

    A hub model is downloaded at `revision` (safetensors, JSON, vocabulary and chat template files only); `HF_ENDPOINT`, `HF_HUB_OFFLINE`
    and `HF_HOME` are honoured. A `revision` of None is whatever the hub serves at that moment, and the commit says which that was.

    Raises:
        RequestError: the spec names no place, or a folder, a package or a hub repository that does not exist.
        InputError: the folder is not a SentenceTransformer's.
        MachineError: the hub is out of reach and its cache does not hold the model.
    """
    if model.path is not None:
        found = LocatedModel(name=model.name, folder=Path(model.path).expanduser(), source="path", repository=None, commit=None)
    elif model.package is not None:
        found = _package_model(model, model.package)
    elif model.hub is not None:
        found = _hub_model(model, model.hub, download=download)
    else:
        raise RequestError(f"model {model.name!r} does not say where it is: set model.path=DIR, model.package=NAME or model.hub=OWNER/NAME")
    return _checked(found, marker)


def model_problem(model: ModelSpec, *, marker: str = "modules.json") -> str | None:
    """Why `find_model` would not find the model, with the way out; nothing is downloaded to find out. Raises as `find_model` does."""
    if model.hub is None or model.path or model.package:
        find_model(model, marker=marker)
        return None
    from harness.data.hub import hub_settings, hub_status

    cached = hub_settings().cache / f"models--{model.hub.replace('/', '--')}" / "snapshots"
    if cached.is_dir() or (status := hub_status()).reachable:
        return None
    here = f"{model.hub} is not in the cache {cached.parent.parent}, and the hub can't be reached ({status.detail})"
    return f"model {model.name}: {here}. Give a copy of its folder: model.path=DIR"


def hash_weights(folder: Path, *, allow_pickle: bool = False) -> Weights:
    """Checksums and size of the weights in a folder.

    Raises:
        InputError: there are no safetensors weights, or one can't be read; the message names the pickled ones that are there, if any.
    """
    files = sorted(folder.rglob("*.safetensors"))
    pickled = sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("*/pytorch_model.bin")])
    unsafe = [path for path in pickled if not list(path.parent.glob("*.safetensors"))]
    if unsafe and not allow_pickle:
        names = ", ".join(str(path) for path in unsafe)
        raise InputError(
            f"{names}: pickled weights, and a pickle can run code when it is read. "
            "Convert them to safetensors, or set model.allow_pickle=true if you trust their origin."
        )
    if not files and not unsafe:
        raise InputError(f"{folder} holds no model.safetensors: download the model again, or name another folder with model.path=DIR")
    own = [path for path in files if path.parent == transformer_folder(folder)]
    stored = sum(math.prod(shape) for path in own for shape in stored_tensors(path).values()) if own else None
    return Weights(
        sha256={path.relative_to(folder).as_posix(): hash_file(path) for path in [*files, *unsafe]},
        stored_parameters=stored,
    )


def files_digest(folder: Path) -> str:
    """SHA-256 over the files beside the weights that decide a vector: those of the tokenizer and of every module.

    Raises:
        InputError: a file can't be read.
    """
    places = {folder, *(folder / module.path for module in listed_modules(folder))}
    return _digest_files(folder, {path for place in places if place.is_dir() for path in place.iterdir()})


def all_files_digest(folder: Path) -> str:
    """As `files_digest`, of the files in all folders within this one, whatever modules there are."""
    return _digest_files(folder, folder.rglob("*"))


def _digest_files(folder: Path, paths: Iterable[Path]) -> str:
    found = sorted(path for path in paths if path.suffix in _DECIDING and path.is_file())
    lines = "".join(f"{hash_file(path)}  {path.relative_to(folder).as_posix()}\n" for path in found)
    return hashlib.sha256(lines.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file of a model.

    Raises:
        InputError: it can't be read.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}): download the model again") from error


def read_json(path: Path) -> dict[str, object] | list[object]:
    """A JSON file of a model folder.

    Raises:
        InputError: it is missing or does not parse.
    """
    try:
        with open_regular(path) as stream:
            value: dict[str, object] | list[object] = json.loads(stream.read().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} can't be read as JSON ({error}): download the model again") from error
    return value


def read_object(path: Path) -> Mapping[str, Any]:
    """A JSON file of a model folder that holds an object; raises InputError as `read_json` does, and where it holds something else."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} is no JSON object: download the model again")
    return values


def stored_tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its header.

    Raises:
        InputError: the file is damaged or cut short.
    """
    try:
        open_regular(path).close()
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a safetensors file, or is cut short ({error}): {get_again(path)}") from error


def get_again(path: Path) -> str:
    """The way to a sound file in the place of a damaged one."""
    pointer = path.is_file() and is_lfs_pointer(path)
    return "it is a Git LFS pointer: run `git lfs pull` in the clone it lies in" if pointer else "download the model again"


def _checked(found: LocatedModel, marker: str) -> LocatedModel:
    folder = found.folder
    if not folder.is_dir():
        kind = RequestError if found.source == "path" else InputError
        raise kind(f"model folder {folder} is missing: set model.path=DIR to the folder of a SentenceTransformer")
    if (transformer_folder(folder) / "adapter_config.json").is_file():  # its base model may be another one tomorrow, unseen by any hash
        raise InputError(f"{folder} is an adapter: merge it into its base model (peft: merge_and_unload), and save a SentenceTransformer")
    if not (folder / marker).is_file():
        raise InputError(f"{folder} has no {marker}: {_instead(folder, marker)}")
    return found


def _instead(folder: Path, marker: str) -> str:
    """What to do with a folder that has no modules.json, by what it has."""
    if inner := sorted(path.parent.name for path in folder.glob(f"*/{marker}")):
        return f"name one of the folders in it that have: {', '.join(inner[:3])}"
    if any(folder.glob("*.gguf")):
        return "serve the GGUF file (llama.cpp, Ollama) and run model.kind=endpoint model.url=URL"
    if (folder / "config.json").is_file():
        return (
            "it is a plain transformers model, and which pooling it wants would be a guess. Mean pooling: "
            f"SentenceTransformer('{folder}').save('NEW') in sentence-transformers, then model=./NEW"
        )
    return "name a folder that SentenceTransformer.save wrote"


def _package_model(model: ModelSpec, package: str) -> LocatedModel:
    try:
        root = importlib.resources.files(package)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"model {model.name!r} comes with the Python package {package!r}, which is not installed: "
            f"python -m pip install 'cmteb-harness[{model.name}]', or set model.path=DIR"
        ) from error
    folder = Path(str(root)) / (model.package_folder or "")
    return LocatedModel(name=model.name, folder=folder, source="package", repository=None, commit=None)


def _hub_model(model: ModelSpec, repository: str, *, download: bool) -> LocatedModel:
    # Imported here: it reads HF_HUB_OFFLINE and HF_ENDPOINT when it is imported.
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of httpx; a proxy's errors are no other kind

    from harness.data.hub import hide_passwords

    hide_passwords()
    patterns = [*_HUB_FILES, *(_HUB_PICKLES if model.allow_pickle else ()), *(("*.py",) if model.trust_remote_code else ())]
    at = f"{repository}@{model.revision}" if model.revision else repository
    silence = _hub_silence(repository, model.revision) if download else None
    cached = not download or silence is not None
    try:
        folder = Path(snapshot_download(repository, revision=model.revision, allow_patterns=patterns, local_files_only=cached))
    except errors.GatedRepoError as error:
        raise MachineError(f"{at} is gated: accept its terms on the hub and run `hf auth login`, or set model.path=DIR") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise RequestError(f"the hub has no {at} (or it is private): set model.hub and model.revision, or model.path=DIR") from error
    except (
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        HTTPError,
        errors.RevisionResolutionError,
        OSError,
    ) as error:
        if not download:
            raise MachineError(f"model {at} is not in the hub's cache on this machine, nor is model.path=DIR given") from error
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = without_passwords(described(silence or error).partition("\n")[0])
        raise MachineError(
            f"model {at}: the hub can't be reached{offline} and its cache does not hold it ({reason}). "
            "Set model.path=DIR to a copy of the folder, or HF_ENDPOINT to a mirror, or fetch it once on a machine with network "
            f"(`hf download {repository}{f' --revision {model.revision}' if model.revision else ''}`) and copy HF_HOME."
        ) from error
    return LocatedModel(name=model.name, folder=folder, source="hub", repository=repository, commit=folder.name)


def _hub_silence(repository: str, revision: str | None) -> Exception | None:
    """Why the hub does not answer, asked once: a download would ask it again for a minute. None where it does, whatever it says."""
    from huggingface_hub import HfApi, errors
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        HfApi().model_info(repository, revision=revision, timeout=10)
    except (errors.HfHubHTTPError, ValueError, KeyError, TypeError, AttributeError):  # what answers may be no hub
        return None
    except (HTTPError, OSError) as error:
        return error
    return None


@dataclass(frozen=True)
class ModuleEntry:
    """A module that a modules.json lists: the path of its class in Python, and that of its files within the model's folder."""

    kind: str
    path: str


def listed_modules(folder: Path) -> list[ModuleEntry]:
    """The modules of a folder in their order; none where it has no modules.json.

    Raises:
        InputError: the file can't be read, or lists none.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    found: Any = read_json(path)
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise InputError(f"{path} lists no modules: download the model again")
    return [ModuleEntry(str(each.get("type")), str(each.get("path", ""))) for each in found]


def transformer_folder(folder: Path) -> Path:
    """Where the first module's files lie; the folder itself where it has no modules.json. Raises as `listed_modules` does."""
    return folder / next((module.path for module in listed_modules(folder)), "")
