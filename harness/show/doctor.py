"""What doctor found."""

from dataclasses import asdict

from harness.evaluate.doctor import Diagnosis
from harness.show.form import Document, Sentences, grid, table_columns


def doctor_document(diagnosis: Diagnosis) -> Document:
    """A line per finding, then the stages of `make reproduce`."""
    found = diagnosis.findings
    blocks = (
        Sentences(tuple(f"{each.state:<5}{each.what:<14}{each.found}" for each in found), "verbatim", width="narrow"),
        grid(table_columns("State", "What", "Found"), ((each.state, each.what, each.found) for each in found), width="wide"),
        Sentences(("make reproduce, on this machine:", *(f"  {stage}" for stage in diagnosis.stages)), "verbatim"),
    )
    return Document(blocks=lambda: blocks, data=lambda: {**asdict(diagnosis), "healthy": diagnosis.healthy})
