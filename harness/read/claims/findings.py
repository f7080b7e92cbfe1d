"""The result of a check: a verdict, and one sentence per finding."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CheckVerdict = Literal["contradicts", "noted", "can't tell", "holds"]
VERDICTS: tuple[CheckVerdict, ...] = ("contradicts", "noted", "can't tell", "holds")
"""Worst first. `noted`: no contradiction, but a trace of how the numbers were made."""


@dataclass(frozen=True)
class Finding:
    """One thing found. `where`: the task, the row or the line of the card that it is about; `about`: how many things it is about."""

    verdict: CheckVerdict
    where: str
    text: str
    about: int = 1


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


def judged(fine: bool, where: str, text: str) -> Finding:
    """`holds`, or `contradicts` with the text."""
    return Finding("holds" if fine else "contradicts", where, text)


def check(name: str, about: str, found: Iterable[Finding], *, of: int | None = None) -> Check:
    """A check of the findings, of which those that hold are only counted. `of`: by default as many as hold or contradict."""
    found = list(found)
    held = sum(finding.verdict == "holds" for finding in found)
    findings = tuple(finding for finding in found if finding.verdict != "holds")
    default = held + sum(finding.about for finding in findings if finding.verdict == "contradicts")
    return Check(name=name, about=about, held=held, of=default if of is None else of, findings=findings)
