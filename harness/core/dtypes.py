"""The dtypes of a run, and how torch and model cards spell them."""

from dataclasses import dataclass

from harness.core.spec import Dtype


@dataclass(frozen=True)
class DtypeFacts:
    """`card`: as torch and the card's table spell it. `alias`: what torch calls it as well. `bytes`: of a number; `bits`: its significant
    ones."""

    card: str
    alias: str | None
    bytes: int
    bits: int


DTYPES: dict[Dtype, DtypeFacts] = {
    "fp32": DtypeFacts("float32", "float", bytes=4, bits=24),
    "fp16": DtypeFacts("float16", "half", bytes=2, bits=11),
    "bf16": DtypeFacts("bfloat16", None, bytes=2, bits=8),
}

_NAMES = {spelling: name for name, facts in DTYPES.items() for spelling in (name, facts.card, facts.alias)}


def dtype_named(text: str) -> Dtype | None:
    """The dtype however it is spelled: `FP16`, `half` and `torch.float16` are fp16; None for a text that names no dtype of a run."""
    return _NAMES.get(text.lower().removeprefix("torch."))


def card_dtype(text: str) -> str:
    """The dtype as the card's table spells it (`float16`); a text that names none as it is."""
    name = dtype_named(text)
    return text if name is None else DTYPES[name].card
