"""The table that ends `make demo`: what evaluation.json says, for the terminal."""

from pathlib import Path
from typing import Any

from cavmae.evaluation.document import read_metrics

_COLUMNS = ("accuracy", "mAP", "mAUC", "d_prime", "f1")


def results_table(metrics: Path, report: Path) -> str:
    """Return models x metrics with the confidence interval of accuracy, retrieval, and where the report lies."""
    lines: list[str] = []
    for split, figures in read_metrics(metrics).items():
        models = {name: values for name, values in figures.items() if isinstance(values, dict) and "mAP" in values}
        if models:
            rows = [[f"{split} split", *_COLUMNS, "95 % interval of accuracy"]]
            rows += [
                [name, *(_number(values, key) for key in _COLUMNS), _interval(values)]
                for name, values in sorted(models.items(), key=_place)
            ]
            ceiling = figures.get("ceiling", {})
            if ceiling:
                rows.append(["best possible", ", ".join(f"{name} {value:.2f}" for name, value in ceiling.items())])
            lines += [*_aligned(rows), ""]
        if "retrieval" in figures:
            rows = [["retrieval", "R@1", "R@5", "R@10", "median rank", "R@1 by chance"]]
            keys = ("r1", "r5", "r10", "median_rank", "chance_r1")
            rows += [
                [name.replace("_", " "), *(_number(values, key) for key in keys)] for name, values in figures["retrieval"].items()
            ]
            lines += [*_aligned(rows), ""]
    return "\n".join([*lines, f"report: {report}"])


def _place(item: tuple[str, Any]) -> tuple[bool, str]:
    """Both modalities first, then the single ones, then what is missing one: by name within."""
    return item[0] != "multimodal", item[0].replace("multimodal_", "~")


def _number(values: dict[str, Any], key: str) -> str:
    return f"{values[key]:.3f}" if key in values else "-"


def _interval(values: dict[str, Any]) -> str:
    return f"{values['accuracy_low']:.3f} to {values['accuracy_high']:.3f}" if "accuracy_low" in values else "-"


def _aligned(rows: list[list[str]]) -> list[str]:
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]
