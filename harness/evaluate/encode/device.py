"""The device a model runs on, and everything about it that can change the bits of a vector."""

import contextlib
import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch.nn.attention import SDPBackend

from harness.core.costs import PeakMemory
from harness.core.errors import MachineError
from harness.core.fingerprint import DeviceInfo, NumericFlags, cpu_device, cpu_facts
from harness.core.spec import Dtype, Ladder

TORCH_DTYPE: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

DeviceKind = Literal["auto", "cpu"]

_KERNEL_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
)
"""Environment variables by which the libraries below torch choose other kernels."""


def find_device(kind: DeviceKind = "auto") -> torch.device:
    """The device to run on; `auto` takes a CUDA GPU where there is one."""
    found = kind == "auto" and torch.cuda.is_available()
    return torch.device("cuda", torch.cuda.current_device()) if found else torch.device("cpu")


def peak_memory(device: torch.device) -> PeakMemory:
    """The peak since the process started; of the GPU, since its counter in torch was last reset. `device_gib` is None on a CPU."""
    unit = 1 if sys.platform == "darwin" else 2**10  # getrusage(2): bytes on macOS, KiB elsewhere
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    held = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    return PeakMemory(process_gib=round(process, 3), device_gib=None if held is None else round(held, 3))


@contextlib.contextmanager
def memory_for(what: str, device: torch.device, *, otherwise: str) -> Iterator[None]:
    """Does what needs the device's memory. `what`, and what to do `otherwise`: in words.

    Raises:
        MachineError: there is not enough of it.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has a type of its own for a GPU's memory alone
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            raise
        raise MachineError(f"{device} does not have enough memory for {what}: {otherwise}") from error


def memory_for_weights(model: str, dtype: Dtype, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """As `memory_for`, for what puts a model's weights on the device."""
    return memory_for(f"the weights of {model} in {dtype}", device, otherwise="free some, or use a smaller dtype")


def fewer_tokens(batch_tokens: int) -> str:
    """What to do where a batch is too large for the memory."""
    return f"run again with gpu.batch_tokens={batch_tokens} (the size of batches can change the bits of vectors, so no run changes it)"


def describe_device(device: torch.device) -> DeviceInfo:
    """What the device is called and what it can do."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        native_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return DeviceInfo(
            kind="cuda",
            name=properties.name,
            memory_gib=properties.total_memory / 2**30,
            capability=f"sm_{properties.major}{properties.minor}",
            driver=_driver_version(),
            cuda=torch.version.cuda,
            dtypes=("fp32", "fp16", "bf16") if native_bf16 else ("fp32", "fp16"),
        )
    return cpu_device(capability=torch.backends.cpu.get_cpu_capability())


def numeric_flags() -> NumericFlags:
    """The switches as they stand."""
    matmul = torch.backends.cuda.matmul
    return NumericFlags(
        tf32_matmul=matmul.allow_tf32,
        tf32_cudnn=torch.backends.cudnn.allow_tf32,
        fp16_reduced_reduction=bool(matmul.allow_fp16_reduced_precision_reduction),
        bf16_reduced_reduction=bool(matmul.allow_bf16_reduced_precision_reduction),
        float32_matmul_precision=torch.get_float32_matmul_precision(),
        deterministic_algorithms=torch.are_deterministic_algorithms_enabled(),
    )


def kernel_identity(device: torch.device) -> str:
    """Everything of device and libraries that chooses kernels, as one line: vectors are comparable bit by bit only where it is equal.

    A CPU is named down to its stepping and its instruction sets (MKL and oneDNN choose code paths by them, blocking by its caches); the
    number of threads is not among it, since a batch runs on one. A GPU is named by its name, its compute capability and CUDA's version.
    """
    if device.type == "cuda":
        info = describe_device(device)
        where = f"{info.name} {info.capability} cuda{info.cuda} cudnn{torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    else:
        facts = cpu_facts()
        words = [facts.get(key, "") for key in ("vendor_id", "cpu family", "model", "stepping", "model name")]
        flags = hashlib.sha256(facts.get("flags", "").encode()).hexdigest()[:16]
        where = " ".join([*words, flags, torch.backends.cpu.get_cpu_capability()])
    build = hashlib.sha256(torch.__config__.show().encode()).hexdigest()[:16]
    variables = " ".join(f"{name}={os.environ[name]}" for name in _KERNEL_VARIABLES if name in os.environ)
    return f"{where} | torch {torch.__version__} {build} | {numeric_flags()} | {variables}"


def attention_kernel(device: torch.device, dtype: Dtype, ladder: Ladder) -> SDPBackend:
    """The one scaled-dot-product kernel that all batches run on; torch chooses per call otherwise, by shape and mask.

    The flash kernel of CUDA takes no mask, no fp32 and no GPU older than Ampere; the memory-efficient one takes all of them.
    """
    if device.type == "cpu":
        return SDPBackend.FLASH_ATTENTION
    flash = ladder == "exact" and dtype != "fp32" and is_ampere(device)
    return SDPBackend.FLASH_ATTENTION if flash else SDPBackend.EFFICIENT_ATTENTION


def is_ampere(device: torch.device) -> bool:
    """Whether a GPU is of the Ampere generation (2020) or newer, for which the fast kernels are written."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


def _driver_version() -> str | None:
    path = Path("/proc/driver/nvidia/version")
    if not path.is_file():
        return None
    words = path.read_text(encoding="utf-8").split("Kernel Module", 1)[-1].split()
    return next((word for word in words if word[:1].isdigit()), None)
