"""The validation document: one HTML page that needs no network and runs no script."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from jinja2 import Environment, StrictUndefined

from cavmae.dataset.expectations import SPLITS, Expectation
from cavmae.dataset.validation_tables import RANGED_FACTS
from cavmae.dataset.validator import Outcome

_LABELS_SHOWN = 1000

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Validation: {{ 'passed' if passed else 'failed' }}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f4b; --bad: #c0392b; --warn: #b7791f; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { margin: 0; font-size: 1.5rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.15rem; }
.banner { border-left: .5rem solid var(--good); background: var(--soft); padding: .9rem 1.2rem; }
.banner.failed { border-color: var(--bad); }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1rem 0; }
.card { border: 1px solid var(--line); border-radius: .4rem; padding: .45rem .9rem; }
.card b { display: block; font-size: 1.3rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; background: var(--soft); } td.number, th.number { text-align: right; }
td { overflow-wrap: anywhere; } td.word { white-space: nowrap; overflow-wrap: normal; }
code { font-size: .92em; } .note { opacity: .75; }
.mark { font-weight: 700; color: var(--good); } .mark.failed { color: var(--bad); } .mark.warning { color: var(--warn); }
ul { margin: .2rem 0 0; padding-left: 1.1rem; }
</style></head><body>
<div class="banner {{ '' if passed else 'failed' }}">
<h1>Validation {{ 'passed' if passed else 'failed' }}</h1>
{% if failed %}<div>Critical expectations that are not met: {% for item in failed %}<a href="#{{ item }}"><code>{{ item }}</code></a>
{%- if not loop.last %}, {% endif %}{% endfor %}.</div>{% endif %}
{% if warned %}<div>Warnings: {% for item in warned %}<a href="#{{ item }}"><code>{{ item }}</code></a>
{%- if not loop.last %}, {% endif %}{% endfor %}.</div>{% endif %}
</div>
<div class="cards">{% for name, value in cards %}<div class="card"><b>{{ value }}</b>{{ name }}</div>{% endfor %}</div>
<h2>Expectations</h2>
<table><tr><th></th><th>Expectation</th><th>What it says</th><th>What was seen</th></tr>
{% for outcome in outcomes %}{% set kind = 'passed' if outcome.passed else ('failed' if outcome.expectation.critical else 'warning') %}
<tr id="{{ outcome.expectation.name }}"><td class="word"><span class="mark {{ kind }}">{{ kind }}</span></td>
<td class="word"><code>{{ outcome.expectation.name }}</code><div class="note">{{ 'critical' if outcome.expectation.critical else 'warning' }},
table {{ outcome.expectation.table }}</div></td><td>{{ outcome.expectation.sentence }}</td>
<td>{{ outcome.observed }}{% if outcome.examples %}<ul>{% for example in outcome.examples %}<li><code>{{ example }}</code></li>
{% endfor %}{% if outcome.unexpected > outcome.examples | length %}<li class="note">and
{{ outcome.unexpected - outcome.examples | length }} more</li>{% endif %}</ul>{% endif %}</td></tr>
{% endfor %}
{% for item in skipped %}<tr><td class="word note">skipped</td><td><code>{{ item.name }}</code></td><td>{{ item.sentence }}</td>
<td class="note">The dataset has no labels.</td></tr>{% endfor %}</table>
<h2>Quarantine</h2>
{% if quarantine %}<table><tr><th>Step</th><th>Reason</th><th class="number">Inputs</th><th>For example</th></tr>
{% for row in quarantine %}<tr><td>{{ row.step }}</td><td><code>{{ row.reason }}</code></td><td class="number">{{ row.inputs }}</td>
<td><code>{{ row.path }}</code><div class="note">{{ row.detail }}</div></td></tr>{% endfor %}</table>
{% else %}<p>No input was rejected.</p>{% endif %}
<h2>Media facts of the accepted clips</h2>
<table><tr><th>Fact</th>{% for name in quantiles %}<th class="number">{{ name }}</th>{% endfor %}</tr>
{% for name, values in facts %}<tr><td><code>{{ name }}</code></td>{% for value in values %}<td class="number">{{ value }}</td>{% endfor %}
</tr>{% endfor %}</table>
{% if labels %}<h2>Labels</h2>
<table><tr><th>Label</th>{% for split in splits %}<th class="number">{{ split }}</th>{% endfor %}</tr>
{% for row in labels %}<tr><td>{{ row.label }}</td>{% for split in splits %}<td class="number">{{ row[split] }}</td>{% endfor %}</tr>
{% endfor %}</table>{% if more_labels %}<p class="note">and {{ more_labels }} more labels</p>{% endif %}{% endif %}
<h2>Pages by Great Expectations</h2>
<p>The library's own pages hold the same results. Their styles and scripts come from the network:
{% for table in tables %}<a href="great_expectations_{{ table }}.html">{{ table }}</a>{% if not loop.last %}, {% endif %}{% endfor %}.</p>
</body></html>
"""  # noqa: E501
_CARDS = {
    "inputs": "inputs",
    "clips": "clips accepted",
    "train": "train",
    "val": "val",
    "test": "test",
    "quarantined": "quarantined",
}
_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "most": 1.0}


def render_page(
    passed: bool,
    counts: Mapping[str, int],
    outcomes: Sequence[Outcome],
    skipped: Sequence[Expectation],
    tables: Mapping[Any, pd.DataFrame],
    quarantine: pa.Table,
) -> str:
    """Return the page; every value from the data is escaped. Failed expectations come first."""
    ranked = sorted(outcomes, key=lambda outcome: (outcome.passed, not outcome.expectation.critical))
    unmet = [outcome.expectation for outcome in ranked if not outcome.passed]
    labels = tables["labels"].to_dict("records")
    page: str = (
        Environment(autoescape=True, undefined=StrictUndefined)
        .from_string(_TEMPLATE)
        .render(
            passed=passed,
            failed=[item.name for item in unmet if item.critical],
            warned=[item.name for item in unmet if not item.critical],
            cards=[(title, counts[key]) for key, title in _CARDS.items()],
            outcomes=ranked,
            skipped=skipped,
            quarantine=_reasons(quarantine),
            quantiles=list(_QUANTILES),
            facts=_facts(tables["clips"]),
            splits=SPLITS,
            labels=labels[:_LABELS_SHOWN],
            more_labels=max(len(labels) - _LABELS_SHOWN, 0),
            tables=list(dict.fromkeys(outcome.expectation.table for outcome in outcomes)),
        )
    )
    return page


def _reasons(quarantine: pa.Table) -> list[dict[str, Any]]:
    frame = quarantine.to_pandas().astype("object").fillna("")
    grouped = frame.groupby(["step", "reason"], sort=True)
    return [
        {"step": step, "reason": reason, "inputs": len(rows), **rows.iloc[0][["path", "detail"]].to_dict()}
        for (step, reason), rows in grouped
    ]


def _facts(clips: pd.DataFrame) -> list[tuple[str, list[str]]]:
    if clips.empty:
        return []
    quantiles = clips[list(RANGED_FACTS)].quantile(list(_QUANTILES.values()), interpolation="nearest")
    return [(name, [f"{value:.4g}" for value in quantiles[name]]) for name in RANGED_FACTS]
