"""What a CI system takes beside the exit code: JUnit's XML, GitHub's step summary and annotations."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from harness.core.errors import MachineError
from harness.core.files import atomic_write
from harness.core.formatting import printable
from harness.read.drift.check import DriftReport
from harness.show.drift import conclusion, drift_markdown, failure_line, vector_line


def write_junit(path: Path, report: DriftReport) -> None:
    """A test case per task, one for the canary's vectors where they were compared, the settings that differ as properties of the suite. No
    text has a character that XML 1.0 can't write.

    Raises:
        MachineError: the file can't be written.
    """
    failed, refused = len(report.failing), sum(task.verdict == "not comparable" for task in report.tasks)
    tests = len(report.tasks)
    if report.vectors:
        tests, failed = tests + 1, failed + report.vectors.drifted
    counts = {"tests": str(tests), "failures": str(failed), "errors": str(refused)}
    root = ElementTree.Element("testsuites", {"name": "score drift", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": printable(f"score drift: {report.baseline.header.model}"), **counts})
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"baseline": str(report.baseline.path), "candidate": str(report.candidate.path), "conclusion": conclusion(report)}
    facts |= {f"{each.kind} {each.key}": f"{each.a} -> {each.b}" for each in (*report.unlike, *report.environment)}
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": printable(name), "value": printable(value)})
    for task in report.tasks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": f"score drift.{task.type}", "name": task.task})
        if task in report.failing:
            kind = task.verdict if task.verdict in ("drifted", "missing") else "other metrics drifted"
            message = printable(failure_line(task))
            ElementTree.SubElement(case, "failure", {"type": kind, "message": message}).text = message
        elif task.verdict == "not comparable":
            ElementTree.SubElement(case, "error", {"type": task.verdict, "message": printable(task.main.why)})
    if report.vectors:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "score drift.canary", "name": "vectors"})
        if report.vectors.drifted:
            message = printable(vector_line(report.vectors))
            ElementTree.SubElement(case, "failure", {"type": "drifted", "message": message}).text = message
    ElementTree.indent(root)
    with atomic_write(path) as stream:
        stream.write(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def append_summary(environ: Mapping[str, str], report: DriftReport) -> None:
    """Add the report to the summary of the step, where GitHub's runner names a file for it.

    Raises:
        MachineError: the file can't be written.
    """
    path = environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(drift_markdown(report) + "\n")
    except OSError as error:
        raise MachineError(f"can't write GITHUB_STEP_SUMMARY={path}: {error.strerror or error}") from error


def workflow_commands(environ: Mapping[str, str], report: DriftReport) -> list[str]:
    """GitHub's workflow commands, one per task that fails or is not comparable, then the conclusion; none outside of an Action."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    wrong = [*report.failing, *(task for task in report.tasks if task.verdict == "not comparable" and task not in report.failing)]
    names = (_escaped(task.task).replace(":", "%3A").replace(",", "%2C") for task in wrong)
    lines = [f"::error title=Score drift%3A {name}::{_escaped(failure_line(task))}" for name, task in zip(names, wrong, strict=True)]
    if report.vectors and report.vectors.drifted:
        lines.append(f"::error title=Score drift%3A canary::{_escaped(vector_line(report.vectors))}")
    return [*lines, f"::{'error' if report.exit_code else 'notice'} title=Score drift::{_escaped(conclusion(report))}"]


def _escaped(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\n", "%0A")
