"""What a check says: a verdict per check, and one sentence per thing a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CheckVerdict = Literal["contradicts", "noted", "can't tell", "holds"]
VERDICTS: tuple[CheckVerdict, ...] = ("contradicts", "noted", "can't tell", "holds")
"""Worst first. `noted`: no contradiction, but a trace of how the numbers were made."""


@dataclass(frozen=True)
class Finding:
    """One thing found. `where`: the task, the row or the line of the card that it is about."""

    verdict: CheckVerdict
    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check. `of`: how many things it could look at, `held`: how many of them were as they must be; `findings`: all others."""

    name: str
    about: str
    held: int
    of: int
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> CheckVerdict:
        """The worst verdict among the findings; without any, whether there was something to look at."""
        found = {finding.verdict for finding in self.findings}
        worst: CheckVerdict = next((verdict for verdict in VERDICTS if verdict in found), "holds")
        if self.held and worst == "can't tell":
            return "holds"
        return worst if self.of or self.findings else "can't tell"


def check(name: str, about: str, *, held: int, findings: Sequence[Finding]) -> Check:
    """A check of as many things as held or were found to contradict; what can't be told is not among them."""
    return Check(
        name=name,
        about=about,
        held=held,
        of=held + sum(finding.verdict == "contradicts" for finding in findings),
        findings=tuple(findings),
    )
