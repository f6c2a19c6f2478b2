"""What a benchmark found: a table for people, JSON for programs, and a page that is kept, named model_hardware_date.md."""

import argparse
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cavmae.errors import InputError, StepFailed
from cavmae.storage import write_atomic, write_json

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("torch", "torchaudio", "numpy", "av", "pillow")


@dataclass
class Outcome:
    """Figures of one benchmark; `ours` and `reference` in `unit`, `ratio` above 1 where ours is better."""

    name: str
    model: str
    ours: float
    reference: float | None
    ratio: float | None
    unit: str
    spread: dict[str, Any]
    versions: dict[str, str]
    command: str = ""
    hardware: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)  # for people: a Markdown table, or sentences

    def document(self) -> dict[str, Any]:
        """Return what `--json` writes."""
        keys = ("ours", "reference", "ratio", "unit", "spread", "versions", "hardware", "model", "command")
        values = {key: getattr(self, key) for key in keys}
        return {"benchmark": self.name, **values, "date": _today(), **self.more}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return least, quartiles, median and most of some values, and how many there were."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return {"min": min(values), "q1": low, "median": middle, "q3": high, "max": max(values), "n": len(values)}


def hardware(device: str = "cpu") -> str:
    """Return the GPU's name, or the processor's with the number of cores that this process may use."""
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name(0))
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} core{'s' if cores > 1 else ''}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def own_versions() -> dict[str, str]:
    """Return the versions of Python, this project and the packages that its speed rests on."""
    found = {"python": platform.python_version()}
    for name in ("cavmae", *_PACKAGES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--results`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="folder for the page that is kept (default: %(default)s)"
    )
    parser.add_argument("--no-results", action="store_true", help="keep no page")


def run(
    name: str, parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Outcome], arguments: Sequence[str] | None
) -> int:
    """Parse, measure, tell and keep the outcome; return the exit code: 2 where a prerequisite is missing, 1 where it failed."""
    options = parser.parse_args(arguments)
    try:
        outcome = measure(options)
        outcome.command = " ".join([f"python -m benchmarks.{name}", *(sys.argv[1:] if arguments is None else arguments)])
        outcome.hardware = outcome.hardware or hardware()
        print("\n".join(outcome.lines))
        if options.json:
            write_json(options.json, outcome.document())
        if not options.no_results:
            print(f"kept in {keep(outcome, options.results)}")
    except (InputError, StepFailed) as error:
        print(f"benchmarks.{name}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"benchmarks.{name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def keep(outcome: Outcome, folder: Path) -> Path:
    """Write the outcome as a section of the page of its model, hardware and day; return the page."""
    page = folder / f"{_slug(outcome.model)}_{_slug(outcome.hardware)}_{_today()}.md"
    sections = _sections(page)
    versions = ", ".join(f"{name} {value}" for name, value in outcome.versions.items())
    sections[outcome.name] = "\n".join([f"`{outcome.command}`", "", *outcome.lines, "", f"Versions: {versions}."])
    title = f"# {outcome.model} on {outcome.hardware}, {_today()}"
    text = "\n\n".join([title, *(f"## {name}\n\n{body}" for name, body in sorted(sections.items()))]) + "\n"
    with write_atomic(page) as partial:
        partial.write_text(text, encoding="utf-8")
    return page


def _sections(page: Path) -> dict[str, str]:
    """The sections of a page as they are, by name."""
    if not page.is_file():
        return {}
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Return the lines of a Markdown table."""
    cells = [list(header), ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in cells]
