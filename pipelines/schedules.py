"""Recurring runs: one schedule of a name, replaced without a firing that is missed or doubled.

The API cannot change a schedule. So the new one is made while it sleeps, at a moment when neither can fire; then the old one is
put to sleep and the new one woken. The old one is deleted when its runs are finished, since some releases of Kubeflow end the
runs of a schedule that is deleted.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cavmae.errors import InputError, StepFailed
from pipelines.answers import Unanswered
from pipelines.cron import may_fire
from pipelines.kubeflow import Json, Kubeflow
from pipelines.package import Package
from pipelines.submission import Uploaded, same_work

_LOG = logging.getLogger(__name__)
_BEFORE_S = 45  # Kubeflow's controller may start a run that is due half a minute late
_AFTER_S = 10
_LONGEST_WAIT_S = 180
_OPEN = ("PENDING", "RUNNING", "CANCELING", "PAUSED")
_RUNS_LOOKED_AT = 200


@dataclass(frozen=True)
class Plan:
    """When a schedule fires: a cron expression of six fields, how many runs at once, whether missed firings are made up for."""

    cron: str
    max_concurrency: int
    catch_up: bool


def schedule(
    api: Kubeflow,
    name: str,
    plan: Plan,
    uploaded: Uploaded,
    experiment: str,
    package: Package,
    values: Mapping[str, Any],
    notes: list[str],
) -> tuple[str, bool]:
    """Make `name` a schedule of the package and return its id, and whether it was that already.

    Others of that name are replaced. Raises InputError or StepFailed where Kubeflow does not take it; then the old one goes on.
    """
    if not 1 <= plan.max_concurrency <= 10:
        raise InputError(f"--max-concurrency {plan.max_concurrency}: must be from 1 to 10")
    wanted: Json = {
        "display_name": name,
        "description": "; ".join([package.description, *notes]),
        "experiment_id": experiment,
        "pipeline_version_reference": uploaded.reference(),
        "runtime_config": {"parameters": dict(values)},
        "trigger": {"cron_schedule": {"cron": plan.cron}},
        "max_concurrency": str(plan.max_concurrency),
        "no_catchup": not plan.catch_up,
        "mode": "DISABLE",
    }
    if package.service_account:
        wanted["service_account"] = package.service_account
    old = api.schedules(name)
    awake = [item for item in old if _is_on(item)]
    if len(awake) == 1 and _is_same(awake[0], wanted, uploaded, values):
        _clear(api, [item for item in old if item is not awake[0]])
        return _id(awake[0]), True
    if awake:
        _wait_for_quiet(api, [plan.cron, *(_cron(item) for item in awake)])
    made = _create(api, wanted, {_id(item) for item in old})
    _swap(api, name, made, [_id(item) for item in awake])
    _clear(api, old)
    return made, False


def switch_off(api: Kubeflow, name: str) -> list[str]:
    """Put every schedule of that name to sleep and return their ids; their runs go on. Raises InputError where there is none."""
    found = api.schedules(name)
    if not found:
        raise InputError(f"no schedule {name!r} is there")
    for item in found:
        if _is_on(item):
            api.switch_schedule(_id(item), on=False)
    return [_id(item) for item in found]


def _create(api: Kubeflow, wanted: Json, before: set[str]) -> str:
    """Create the new schedule, asleep. Where no answer comes, the one that was not there before is it."""
    try:
        return _id(api.create_schedule(wanted))
    except Unanswered as error:
        new = [_id(item) for item in api.schedules(wanted["display_name"]) if _id(item) not in before]
        if len(new) != 1:
            raise StepFailed(f"{error}; the schedule is as before: run the command again") from None
        return new[0]


def _swap(api: Kubeflow, name: str, made: str, awake: list[str]) -> None:
    """Put the old ones to sleep, wake the new one; where that fails, wake the old ones again."""
    asleep: list[str] = []
    try:
        for identifier in awake:
            asleep.append(identifier)
            api.switch_schedule(identifier, on=False)
        api.switch_schedule(made, on=True)
    except (InputError, StepFailed) as error:
        try:
            api.delete_schedule(made)
            for identifier in asleep:
                api.switch_schedule(identifier, on=True)
        except (InputError, StepFailed):
            raise StepFailed(f"{error}; what state schedule {name!r} is in is not known: run the command again") from None
        _LOG.warning("schedule %r is as before", name)
        raise


def _clear(api: Kubeflow, old: list[Json]) -> None:
    """Delete schedules that were replaced, but for those with a run that is not finished: these sleep until the next change."""
    for item in old:
        identifier = _id(item)
        try:
            if any(run.get("state") in _OPEN for run in api.runs(_RUNS_LOOKED_AT, recurring_run_id=identifier)):
                _LOG.info("the schedule before (%s) is off; it is kept until its run is finished", identifier)
                continue
            api.delete_schedule(identifier)
        except (InputError, StepFailed) as error:
            _LOG.warning("the schedule before (%s) is off and could not be deleted: %s", identifier, error)


def _wait_for_quiet(api: Kubeflow, crons: list[str]) -> None:
    """Wait until none of the schedules may have fired just now or is about to."""
    waited_s = 0
    while waited_s <= _LONGEST_WAIT_S:
        now = api.connection.now() + timedelta(seconds=waited_s)
        around = now - timedelta(seconds=_BEFORE_S), now + timedelta(seconds=_AFTER_S)
        if not any(may_fire(cron, *around) for cron in crons):
            break
        waited_s += 1
    else:
        _LOG.warning("the schedule fires too often for a quiet moment; one firing may be missed or doubled")
        return
    if waited_s:
        _LOG.info("waiting %d s, for the schedule may be firing now", waited_s)
        api.connection.pause(waited_s)


def _is_on(item: Json) -> bool:
    return item.get("status") == "ENABLED" or (not item.get("status") and item.get("mode") == "ENABLE")


def _is_same(item: Json, wanted: Json, uploaded: Uploaded, values: Mapping[str, Any]) -> bool:
    return (
        same_work(item, uploaded, values)
        and _cron(item) == wanted["trigger"]["cron_schedule"]["cron"]
        and str(item.get("max_concurrency")) == wanted["max_concurrency"]
        and bool(item.get("no_catchup")) == wanted["no_catchup"]
        and item.get("experiment_id") == wanted["experiment_id"]
        # where none was asked for, Kubeflow tells the one that it takes by itself
        and wanted.get("service_account") in (None, item.get("service_account"))
    )


def _cron(item: Json) -> str:
    return str(((item.get("trigger") or {}).get("cron_schedule") or {}).get("cron") or "")


def _id(item: Json) -> str:
    value = item.get("recurring_run_id")
    if not isinstance(value, str) or not value:
        raise StepFailed("Kubeflow answers without recurring_run_id")
    return value
