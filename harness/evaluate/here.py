"""The run that a request asks for on this machine."""

from collections.abc import Sequence

import torch

from harness.core.config import resolve_run
from harness.core.spec import RunSpec
from harness.evaluate.encode.device import DeviceKind, describe_device, find_device


def resolve_here(overrides: Sequence[str], kind: DeviceKind = "auto") -> tuple[RunSpec, torch.device]:
    """The run that the overrides ask for on this machine's device, and that device.

    Raises:
        RequestError: the overrides are wrong.
        MachineError: `gpu=` expects another device.
    """
    device = find_device(kind)
    info = describe_device(device)
    return resolve_run(overrides, device_name=info.label, device_memory_gib=info.memory_gib), device
