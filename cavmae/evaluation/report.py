"""One self-contained report.html: what the models can do, what the clips were, and what to look at first."""

from pathlib import Path

from cavmae.evaluation import pictures, tables
from cavmae.evaluation.contents import Report
from cavmae.evaluation.examples import Example
from cavmae.evaluation.page import render_page, write_page

__all__ = ["Example", "Report", "render", "write_report"]


def write_report(path: Path, report: Report) -> None:
    """Write `report` to `path` as one HTML file, atomically; equal reports give equal bytes.

    Pictures and sounds are inlined and the page runs no script, which its content security policy says to the browser
    as well. Labels, names and paths are escaped: they come from whoever named the files.
    """
    write_page(path, render(report))


def render(report: Report) -> str:
    """Return the page as text."""
    return render_page(
        "report.html.j2",
        report=report,
        name=tables.model_name,
        headlines=tables.headlines(report),
        lead=tables.lead(report),
        heads=tables.HEADS,
        summary=tables.summary(report),
        gains=tables.gains(report),
        retrieval=tables.retrieval(report),
        classes=tables.classes(report),
        confusion=pictures.confusion(report),
        curves=pictures.curves(report),
        curve_legend=pictures.curve_legend(report),
        learning=pictures.learning(report.learning),
        examples=pictures.examples(report),
        quarantine=tables.quarantine(report),
    )
