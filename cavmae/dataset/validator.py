"""Checking tables against expectations with Great Expectations, quietly and without a project folder."""

import html
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cavmae.dataset.expectations import Expectation, Table
from cavmae.errors import StepFailed

_CLASSES = {
    "not_null": "ExpectColumnValuesToNotBeNull",
    "unique": "ExpectColumnValuesToBeUnique",
    "matches": "ExpectColumnValuesToMatchRegex",
    "in_set": "ExpectColumnValuesToBeInSet",
    "between": "ExpectColumnValuesToBeBetween",
}
_EXAMPLES = 5
_EXAMPLE_LENGTH = 80


@dataclass(frozen=True)
class Outcome:
    """What the check of one expectation saw; `examples` name the first rows that differ, with their value."""

    expectation: Expectation
    passed: bool
    unexpected: int
    observed: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Validation:
    """All outcomes, and for each table the results as Great Expectations gives them."""

    outcomes: list[Outcome]
    results: dict[Table, Any]


def check_tables(tables: Mapping[Table, pd.DataFrame], wanted: Sequence[Expectation]) -> Validation:
    """Check every expectation on its table; outcomes come in the order of `wanted`.

    StepFailed where an expectation could not be evaluated at all, which no content of a table should bring about.
    """
    context, library = _quiet_context()
    source = context.data_sources.add_pandas("tables")
    outcomes: dict[str, Outcome] = {}
    results: dict[Table, Any] = {}
    for table in dict.fromkeys(item.table for item in wanted):
        items = [item for item in wanted if item.table == table]
        frame = tables[table]
        asset = source.add_dataframe_asset(table)
        batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
        suite = library.ExpectationSuite(table, expectations=[_to_library(item, library) for item in items])
        result = batch.validate(suite, result_format="SUMMARY")
        by_name = {single.expectation_config.meta["name"]: single for single in result.results}
        for item in items:
            outcomes[item.name] = _outcome(item, frame, by_name[item.name])
        results[table] = result
    return Validation([outcomes[item.name] for item in wanted], results)


def library_page(result: Any) -> str:
    """Render Great Expectations' own page of one table, without what would differ between two runs on the same input.

    The library writes the values it found into the page as they are; they come from file names and label lists, so
    markup in them is escaped first.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    for single in result.results:
        single.result = _escaped(single.result)
    result.meta["batch_markers"] = {}
    renderer: Any = DefaultJinjaPageView()
    page: str = renderer.render(ValidationResultsPageRenderer().render(result))
    page = re.sub(r"\?d=\d{8}T[\d.]+Z", "", page)
    page = page.replace("../../../../index.html", "index.html").replace("../../../static/images/favicon.ico", "data:,")
    numbers: dict[str, str] = {}
    return re.sub(
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        lambda found: numbers.setdefault(found[0], f"element-{len(numbers)}"),
        page,
    )


def _quiet_context() -> tuple[Any, Any]:
    os.environ["GX_ANALYTICS_ENABLED"] = "False"  # read once, when the library is imported: it would report home
    import great_expectations
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = great_expectations.get_context(mode="ephemeral", project_config=config)
    return context, great_expectations


def _to_library(item: Expectation, library: Any) -> Any:
    kind = getattr(library.expectations, _CLASSES[item.check])
    severity = "critical" if item.critical else "warning"
    said = {"meta": {"name": item.name}, "description": item.sentence, "severity": severity}
    return kind(column=item.column, **said, **item.arguments)


def _outcome(item: Expectation, frame: pd.DataFrame, single: Any) -> Outcome:
    seen = single.result
    if "unexpected_count" not in seen:
        raise StepFailed(f"expectation {item.name} could not be evaluated: {_first_message(single.exception_info)}")
    unexpected = int(seen["unexpected_count"])
    if item.table == "totals":
        value = frame[item.column].iloc[0]
        observed = f"{item.column} is {_show(value)}"
        return Outcome(item, bool(single.success), unexpected, observed, ())
    checked = int(seen["element_count"]) - int(seen.get("missing_count") or 0)
    rows = seen.get("partial_unexpected_index_list") or []
    return Outcome(
        expectation=item,
        passed=bool(single.success),
        unexpected=unexpected,
        observed=f"{unexpected} of {checked} rows differ",
        examples=tuple(_example(frame, item, row) for row in rows[:_EXAMPLES]),
    )


def _example(frame: pd.DataFrame, item: Expectation, row: int) -> str:
    key = {"labels": "label", "shards": "shard"}.get(item.table, "video_id")
    name, value = frame[key].iloc[row], frame[item.column].iloc[row]
    named = f"row {row}" if pd.isna(name) else _show(name)
    return named if item.column == key or pd.isna(value) else f"{named} ({item.column} {_show(value)})"


def _show(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _EXAMPLE_LENGTH else text[: _EXAMPLE_LENGTH - 1] + "…"


def _first_message(info: Any) -> str:
    details = [info, *(value for value in info.values() if isinstance(value, dict))]
    messages = [str(detail["exception_message"]) for detail in details if detail.get("exception_message")]
    return messages[0].splitlines()[0] if messages else "no reason given"


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value).replace("$", "&#36;")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list) else value
