"""Linear layers whose weights are laid out once for the kernel that runs them.

torch multiplies fp32 on a CPU through MKL, which lays out the weights for every batch anew. oneDNN takes them laid out beforehand; torch's
own compiler replaces linear layers by the same operator (`torch/_inductor/fx_passes/mkldnn_fusion.py`, 2.13).
"""

from typing import Literal, cast

import torch
from torch import nn

from harness.core.spec import Dtype

LinearKernel = Literal["torch", "onednn-packed"]


def linear_kernel(device: torch.device, dtype: Dtype) -> LinearKernel:
    """The kernel of the linear layers: oneDNN for fp32 on a CPU whose torch has it, else torch's choice by dtype and device."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return "onednn-packed" if device.type == "cpu" and dtype == "fp32" and has_onednn else "torch"


class PackedLinear(nn.Module):
    """What an `nn.Linear` computes, by oneDNN. In fp32 another order of additions than MKL's: bits differ, by as much as padding makes."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., out_features] of [..., in_features]."""
        return cast(torch.Tensor, torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, "none", [], ""))


def pack_linear_layers(module: nn.Module) -> None:
    """Replaces every `nn.Linear` below the module; it can run afterwards, and neither be trained nor saved."""
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear(child))
        else:
            pack_linear_layers(child)
