"""The table that ends `make demo`: what evaluation.json says, for the terminal; and how far it is from a recipe's numbers."""

import csv
from pathlib import Path
from typing import Any

from cavmae.errors import InputError
from cavmae.evaluation.document import read_metrics
from cavmae.recipe import Recipe, Result
from cavmae.storage import read_json
from cavmae.text_tables import aligned

_METRICS, _REPORT = Path("metrics/evaluation.json"), Path("reports/report.html")
_CURVES = ".tsv"
_COLUMNS = ("accuracy", "mAP", "mAUC", "d_prime", "f1")


def results_page(metrics: Path | None, report: Path | None, recipe: Recipe | None) -> str:
    """Return the table of `metrics`; with a recipe that of the files it names, and how far they are from its numbers."""
    if recipe is None:
        return results_table(metrics or _METRICS, report or _REPORT)
    files = dict.fromkeys([metrics] if metrics else [Path(result.file) for result in recipe.results])
    tables = [results_table(file, report) for file in files if file.suffix != _CURVES]
    return "\n\n".join([*tables, comparison(recipe, metrics)])


def results_table(metrics: Path, report: Path | None) -> str:
    """Return models x metrics with the confidence interval of accuracy, retrieval, and where the report lies."""
    lines: list[str] = []
    for split, figures in read_metrics(metrics).items():
        models = {name: values for name, values in figures.items() if isinstance(values, dict) and "mAP" in values}
        if models:
            level = figures.get("confidence")  # what an earlier version measured does not say it
            interval = "interval" if level is None else f"{100 * level:g} % interval"
            rows = [[f"{split} split", *_COLUMNS, f"{interval} of accuracy"]]
            rows += [
                [name, *(_number(values, key) for key in _COLUMNS), _interval(values)]
                for name, values in sorted(models.items(), key=_place)
            ]
            ceiling = figures.get("ceiling", {})
            if ceiling:
                rows.append(["best possible", ", ".join(f"{name} {value:.2f}" for name, value in ceiling.items())])
            lines += [*aligned(rows), ""]
        if "retrieval" in figures:
            rows = [["retrieval", "R@1", "R@5", "R@10", "median rank", "R@1 by chance"]]
            keys = ("r1", "r5", "r10", "median_rank", "chance_r1")
            rows += [
                [name.replace("_", " "), *(_number(values, key) for key in keys)] for name, values in figures["retrieval"].items()
            ]
            lines += [*aligned(rows), ""]
    return "\n".join([*lines, f"report: {report}"] if report else lines).rstrip()


def comparison(recipe: Recipe, file: Path | None) -> str:
    """Return a row for each number of the recipe: what was measured, what must come out, and whether it did.

    The numbers are read from the files that the recipe names, or all from `file`. Raises InputError where one is not there.
    """
    rows = [[recipe.name, "measured", "expected", ""]]
    for result in recipe.results:
        path = Path(result.file) if file is None else file
        value = _measured(path, result.metric)
        rows.append([result.metric, f"{value:.4f}", *_verdict(value, result)])
    return "\n".join(aligned(rows))


def _verdict(value: float, result: Result) -> tuple[str, str]:
    if result.value is None or result.tolerance is None:
        return "not known", result.why
    distance = value - result.value
    within = abs(distance) <= result.tolerance * (1 + 1e-9)  # the edge itself counts: 0.507 is within 0.512 ± 0.005
    verdict = "reproduced" if within else f"not reproduced: {abs(distance):.4f} {'above' if distance > 0 else 'below'}"
    return f"{result.value} ± {result.tolerance}", verdict


def _measured(path: Path, metric: str) -> float:
    """The number under a dotted path of a JSON file, or in a column of the last row of a curve."""
    found: Any = _last_row(path) if path.suffix == _CURVES else read_json(path)
    for key in (metric,) if path.suffix == _CURVES else metric.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise InputError(f"{path}: holds no number {metric!r}; run the recipe's commands first, or name the file with --metrics")
    return float(found)


def _last_row(path: Path) -> dict[str, float]:
    from cavmae.training.curves import read_curves

    try:
        rows = read_curves(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: is no table of curves ({error})") from None
    return rows[-1] if rows else {}


def _place(item: tuple[str, Any]) -> tuple[bool, str]:
    """Both modalities first, then the single ones, then what is missing one: by name within."""
    return item[0] != "multimodal", item[0].replace("multimodal_", "~")


def _number(values: dict[str, Any], key: str) -> str:
    return f"{values[key]:.3f}" if key in values else "-"


def _interval(values: dict[str, Any]) -> str:
    return f"{values['accuracy_low']:.3f} to {values['accuracy_high']:.3f}" if "accuracy_low" in values else "-"
