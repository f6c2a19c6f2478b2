"""Schedules: one of a name, replaced without a firing missed or doubled, whatever fails on the way."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cavmae.errors import InputError, StepFailed
from pipelines.kubeflow import Kubeflow
from pipelines.package import Package
from pipelines.parameters import read_form
from pipelines.schedules import Plan, schedule, switch_off
from pipelines.submission import Uploaded
from tests.pipelines.fake_kubeflow import API, FakeKubeflow

PLAN = Plan("0 0 3 * * *", 1, catch_up=False)
VERSION = Uploaded("p", "v1")


@pytest.fixture(autouse=True)
def mid_minute(fake: FakeKubeflow) -> None:
    """The clock stands where nothing may fire."""
    set_clock(fake, datetime(2026, 11, 21, 8, 7, 50, tzinfo=UTC))


def set_clock(fake: FakeKubeflow, moment: datetime) -> None:
    fake.clock = moment - datetime.now(UTC)


@pytest.fixture
def package(toy: Path) -> Package:
    return Package("cavmae-retrain", toy, "c-1", read_form(toy), {}, None)


def make(
    api: Kubeflow, package: Package, plan: Plan = PLAN, version: Uploaded = VERSION, name: str = "night", **values: Any
) -> tuple[str, bool]:
    return schedule(api, name, plan, version, "e", package, {"source": "s3://videos", **values}, [])


def on(fake: FakeKubeflow) -> list[str]:
    return [key for key, item in fake.recurring.items() if item["status"] == "ENABLED"]


def test_a_new_schedule(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    identifier, before = make(api, replace(package, service_account="trainer"))
    item = fake.recurring[identifier]
    assert not before and on(fake) == [identifier]
    assert item["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (item["max_concurrency"], item["no_catchup"], item["experiment_id"]) == ("1", True, "e")
    assert item["pipeline_version_reference"] == VERSION.reference()
    assert item["runtime_config"] == {"parameters": {"source": "s3://videos"}}
    assert item["service_account"] == "trainer"


def test_the_same_again_changes_nothing(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    first, _ = make(api, package)
    sent = len(fake.writes())
    assert make(api, package) == (first, True)
    assert len(fake.writes()) == sent


@pytest.mark.parametrize(
    "change",
    [
        {"plan": Plan("0 0 4 * * *", 1, catch_up=False)},
        {"plan": Plan("0 0 3 * * *", 2, catch_up=False)},
        {"plan": Plan("0 0 3 * * *", 1, catch_up=True)},
        {"version": Uploaded("p", "v2")},
        {"parts": 5},
    ],
)
def test_a_changed_schedule_takes_the_place_of_the_old_one(
    fake: FakeKubeflow, api: Kubeflow, package: Package, change: dict[str, Any]
) -> None:
    first, _ = make(api, package)
    fake.sent.clear()
    second, before = make(api, package, **change)
    assert not before and [*fake.recurring] == on(fake) == [second] != [first]
    # made asleep, then the old one off before the new one on: never two at once
    root = f"{API}/recurringruns"
    assert fake.writes() == [
        f"POST {root}",
        f"POST {root}/{first}:disable",
        f"POST {root}/{second}:enable",
        f"DELETE {root}/{first}",
    ]
    assert fake.bodies(f"POST {root}")[0]["mode"] == "DISABLE"


def test_schedules_of_other_names_are_left_alone(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    other, _ = make(api, package, name="day")
    make(api, package)
    make(api, package, parts=5)
    assert other in on(fake) and len(on(fake)) == 2


def test_several_of_one_name_become_one(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    first, _ = make(api, package)
    fake.recurring["copy"] = {**fake.recurring[first], "recurring_run_id": "copy"}
    kept, _ = make(api, package)
    assert [*fake.recurring] == on(fake) == [kept]


def test_a_schedule_that_sleeps_is_woken_by_a_new_one(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    first, _ = make(api, package)
    assert switch_off(api, "night") == [first]
    assert on(fake) == []
    second, before = make(api, package)
    assert not before and on(fake) == [second] == [*fake.recurring]


def test_runs_that_are_not_finished_keep_their_schedule_until_they_are(
    fake: FakeKubeflow, api: Kubeflow, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    fake.orphans = False  # as releases of Kubeflow that end the runs of a schedule that is deleted
    first, _ = make(api, package)
    fake.runs["r"] = {"run_id": "r", "state": "RUNNING", "recurring_run_id": first, "created_at": "1"}
    with caplog.at_level(logging.INFO):
        second, _ = make(api, package, parts=5)
    assert on(fake) == [second] and first in fake.recurring and fake.runs["r"]["state"] == "RUNNING"
    assert "kept until its run is finished" in caplog.text
    fake.runs["r"]["state"] = "SUCCEEDED"
    assert make(api, package, parts=5) == (second, True)
    assert [*fake.recurring] == [second]


def test_a_schedule_is_deleted_so_that_its_runs_stay(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    make(api, package)
    make(api, package, parts=5)
    assert [sent.query for sent in fake.sent if sent.method == "DELETE"] == [{"propagation_policy": "ORPHAN"}]


@pytest.mark.parametrize("status", [400, 403])
def test_a_schedule_that_is_refused_leaves_the_old_one(fake: FakeKubeflow, api: Kubeflow, package: Package, status: int) -> None:
    first, _ = make(api, package)
    fake.mood("POST .*/recurringruns$", status)
    with pytest.raises(InputError, match=str(status)):
        make(api, package, parts=5)
    assert [*fake.recurring] == on(fake) == [first]


@pytest.mark.parametrize("act", [403, 500, "drop"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("what", ["disable", "enable"])
def test_a_swap_that_fails_leaves_the_old_one(
    fake: FakeKubeflow, api: Kubeflow, package: Package, act: int | str, late: bool, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = make(api, package)
    fake.mood(f"POST .*:{what}", act, late=late, times=1)
    with pytest.raises((InputError, StepFailed)):
        make(api, package, parts=5)
    assert [*fake.recurring] == on(fake) == [first]
    assert "is as before" in caplog.text


def test_a_swap_that_cannot_be_undone_says_so_and_the_next_command_puts_it_right(
    fake: FakeKubeflow, api: Kubeflow, package: Package
) -> None:
    make(api, package)
    fake.mood(":enable|DELETE", 503, times=2)
    with pytest.raises(StepFailed, match="not known: run the command again"):
        make(api, package, parts=5)
    final, _ = make(api, package, parts=5)
    assert [*fake.recurring] == on(fake) == [final]


@pytest.mark.parametrize("late", [False, True])
def test_a_schedule_that_nobody_confirmed(fake: FakeKubeflow, api: Kubeflow, package: Package, late: bool) -> None:
    first, _ = make(api, package)
    fake.mood("POST .*/recurringruns$", "drop", late=late, times=1)
    if late:
        second, _ = make(api, package, parts=5)
        assert [*fake.recurring] == on(fake) == [second]
    else:
        with pytest.raises(StepFailed, match="as before: run the command again"):
            make(api, package, parts=5)
        assert [*fake.recurring] == on(fake) == [first]


def test_an_old_schedule_that_cannot_be_deleted_is_off_and_is_told_of(
    fake: FakeKubeflow, api: Kubeflow, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    make(api, package)
    fake.mood("DELETE", 500)
    second, _ = make(api, package, parts=5)
    assert on(fake) == [second] and len(fake.recurring) == 2
    assert "could not be deleted" in caplog.text


@pytest.mark.parametrize(
    ("moment", "waited_s"),
    [
        ((2, 59, 55), 51),  # until the firing at 3:00:00 is 45 s ago
        ((3, 0, 0), 46),
        ((3, 0, 44), 2),
        ((3, 0, 46), 0),
        ((2, 59, 49), 0),
        ((8, 7, 0), 0),
    ],
)
def test_a_swap_waits_for_a_quiet_moment(
    fake: FakeKubeflow, api: Kubeflow, package: Package, pauses: list[float], moment: tuple[int, int, int], waited_s: int
) -> None:
    make(api, package)
    pauses.clear()
    set_clock(fake, datetime(2026, 11, 21, *moment, 10_000, tzinfo=UTC))
    make(api, package, parts=5)
    waited = sum(pauses)
    assert abs(waited - waited_s) <= 1, pauses


def test_the_first_schedule_of_a_name_waits_for_nothing(
    fake: FakeKubeflow, api: Kubeflow, package: Package, pauses: list[float]
) -> None:
    set_clock(fake, datetime(2026, 11, 21, 3, 0, 0, tzinfo=UTC))
    make(api, package)
    assert pauses == []


def test_one_that_always_fires_is_replaced_all_the_same(
    fake: FakeKubeflow, api: Kubeflow, package: Package, pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    make(api, package, plan=Plan("*/10 * * * * *", 1, catch_up=False))
    second, _ = make(api, package)
    assert on(fake) == [second] and pauses == []
    assert "one firing may be missed or doubled" in caplog.text


def test_no_firing_is_missed_or_doubled_at_whatever_second_a_schedule_is_changed(
    fake: FakeKubeflow, api: Kubeflow, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubeflow's controller starts a run up to 30 s late, of a schedule that is on by then and was created before the firing."""

    def sleep(_: Any, seconds: float) -> None:
        fake.clock += timedelta(seconds=seconds)

    monkeypatch.setattr(type(api.connection), "pause", sleep)
    firing = datetime(2026, 11, 21, 8, 5, 0, tzinfo=UTC)
    for second in range(-70, 70, 3):
        fake.recurring.clear()
        make(api, package, plan=Plan("0 */5 * * * *", 1, catch_up=True))
        set_clock(fake, firing + timedelta(seconds=second))
        fake.sent.clear()
        make(api, package, plan=Plan("0 */5 * * * *", 1, catch_up=False))
        writes = [sent for sent in fake.sent if sent.method == "POST"]
        assert [sent.path.rpartition(":")[2] for sent in writes[1:3]] == ["disable", "enable"]
        created, disabled = writes[0].at, writes[1].at
        for late_s in (0, 15, 30):
            by_old = disabled > firing + timedelta(seconds=late_s)
            by_new = created < firing
            assert by_old + by_new == 1, (second, late_s)


@pytest.mark.parametrize("number", [0, 11, -1])
def test_runs_at_once_are_one_to_ten(fake: FakeKubeflow, api: Kubeflow, package: Package, number: int) -> None:
    with pytest.raises(InputError, match="from 1 to 10"):
        make(api, package, plan=Plan("0 0 3 * * *", number, catch_up=False))
    assert fake.sent == []


def test_switching_off_what_is_not_there_is_the_users_mistake(api: Kubeflow) -> None:
    with pytest.raises(InputError, match="no schedule 'night'"):
        switch_off(api, "night")


def test_switching_off_leaves_runs_alone(fake: FakeKubeflow, api: Kubeflow, package: Package) -> None:
    first, _ = make(api, package)
    fake.runs["r"] = {"run_id": "r", "state": "RUNNING", "recurring_run_id": first, "created_at": "1"}
    switch_off(api, "night")
    assert fake.runs["r"]["state"] == "RUNNING" and on(fake) == []
