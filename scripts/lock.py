"""Write the lock files: exact versions, with the SHA-256 of every file that pip may choose.

Run by `make lock`, which installs pip-tools. Versions in the locks are kept where pyproject.toml allows them; arguments go to pip-compile
(`make lock ARGS="--upgrade-package rich"`). torch has two builds. The one of the public index needs CUDA packages on Linux
(requirements-cuda.lock); the one for CPUs (`+cpu`, requirements-cpu.lock) needs none. `make install` takes the second where pip finds it.
Ray's launcher needs packages in versions of its own: requirements-ray.lock has what comes on top of requirements.lock, for this machine's
Python alone, since the files of all others are gigabytes that only a download gives the hashes of.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK, CPU_LOCK, CUDA_LOCK, RAY_LOCK = (ROOT / f"requirements{part}.lock" for part in ("", "-cpu", "-cuda", "-ray"))
OPTIONS = (
    *("--quiet", "--generate-hashes", "--strip-extras", "--allow-unsafe", "--no-header", "--no-annotate"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options", "--unsafe-package=pip"),
)
HEADER = "# Exact versions{what}, for Python {pythons}, with the hashes of their files: made by `make lock`, not by hand.\n"
APART = ("joblib", "cloudpickle", "python-dateutil")
"""What an environment with Ray has in other versions: its launcher needs cloudpickle 2, and boto3 python-dateutil 2."""

Pins = dict[str, tuple[str, frozenset[str]]]
"""Package -> version and the hashes of its files."""


def read_pins(path: Path) -> Pins:
    """The pins of a lock file; none where there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    blocks = re.findall(r"^([A-Za-z0-9._-]+)={2,3}([^\s;]+)(.*(?:\n[ \t]+.*)*)", text, flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): (version, frozenset(re.findall(r"sha256:\w+", rest))) for name, version, rest in blocks}


def merge(*all_pins: Pins) -> Pins:
    """All pins. Of a package that several have in one version, the hashes of all; otherwise the first one counts."""
    merged: Pins = {}
    for pins in all_pins:
        for name, (version, hashes) in pins.items():
            kept, known = merged.get(name, (version, frozenset()))
            merged[name] = (kept, known | hashes if kept == version else known)
    return merged


def compile_pins(source: str | Path, known: Pins, *options: str) -> Pins:
    """What pip-compile makes of a requirements file or a pyproject.toml; it keeps versions that are known."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.txt"
        output.write_text("".join(f"{name}=={version}\n" for name, (version, _) in known.items()), encoding="utf-8")
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *options, "--output-file", str(output), str(source)]
        subprocess.run(command, check=True, cwd=ROOT)
        return read_pins(output)


def installed_pins(requirements: list[str], pins: Pins) -> Pins:
    """What pip would install here for the requirements, in the versions of the pins where they have one, with the hashes of those files."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder) / "constraints.txt", Path(folder) / "report.json"
        constraints.write_text("".join(f"{name}=={version}\n" for name, (version, _) in pins.items()), encoding="utf-8")
        options = ["--dry-run", "--ignore-installed", "--quiet", "-c", str(constraints), "--report", str(report)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *requirements], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    made = {}
    for each in found:
        name, digest = each["metadata"]["name"], each["download_info"]["archive_info"]["hashes"]["sha256"]
        made[re.sub(r"[-_.]+", "-", name).lower()] = each["metadata"]["version"], frozenset([f"sha256:{digest}"])
    return made


def write_pins(path: Path, pins: Pins, *, what: str = "", marker: str = "", pythons: str = "3.11 to 3.13") -> None:
    """Write a lock file in the order of names."""
    blocks = (
        " \\\n".join((f"{name}=={version}{marker}", *(f"    --hash={each}" for each in sorted(hashes))))
        for name, (version, hashes) in sorted(pins.items())
    )
    path.write_text(HEADER.format(what=what, pythons=pythons) + "\n".join(blocks) + "\n", encoding="utf-8")


def is_cuda(name: str) -> bool:
    """Whether only the CUDA build of torch needs the package."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def main() -> None:
    """Compile pyproject.toml, then torch of the public index alone; split the pins over the three files."""
    known = merge(read_pins(LOCK), read_pins(CUDA_LOCK))
    found = compile_pins("pyproject.toml", known, "--extra=dev", *sys.argv[1:])
    version = found["torch"][0]
    release = version.partition("+")[0]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "torch.in"
        source.write_text(f"torch==={release}\n", encoding="utf-8")  # === excludes the build for CPUs
        public = compile_pins(source, merge({"torch": (release, frozenset())}, found, known))
    cpu = {"torch": found["torch"]} if version == f"{release}+cpu" else read_pins(CPU_LOCK)  # kept where this machine has no such build
    if cpu["torch"][0] != f"{release}+cpu":
        raise SystemExit(f"torch changes to {release}: run this where pip finds torch=={release}+cpu")
    pins = merge({"torch": (release, cpu["torch"][1])}, found, public)
    write_pins(LOCK, {name: pin for name, pin in pins.items() if not is_cuda(name)}, what=" of everything")
    write_pins(CPU_LOCK, cpu, what=" of torch for CPUs")
    cuda = {name: pin for name, pin in pins.items() if is_cuda(name)}
    write_pins(CUDA_LOCK, cuda, what=" of what torch needs for CUDA", marker=' ; sys_platform == "linux"')
    write_ray(pins)


def write_ray(pins: Pins) -> None:
    """Write requirements-ray.lock: what pip adds to an environment of these pins, or changes in it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    ray = installed_pins(extras["ray"], {name: pin for name, pin in pins.items() if name not in APART})
    other = {name: pin for name, pin in ray.items() if name not in pins or pins[name][0] != pin[0]}
    python = f"{sys.version_info.major}.{sys.version_info.minor} on Linux"
    write_pins(RAY_LOCK, other, what=" of what Ray needs besides requirements.lock, or in other versions", pythons=python)


if __name__ == "__main__":
    main()
