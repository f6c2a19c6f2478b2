"""Cron expressions: what is meant by five fields, what is wrong with others, and when a schedule may fire."""

from datetime import UTC, datetime, timedelta

import pytest

from cavmae.errors import InputError
from pipelines.cron import may_fire, normal_cron


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("0 3 * * *", "0 0 3 * * *"),  # Kubeflow's parser reads it as the third minute of every hour
        ("30 0 3 * * *", "30 0 3 * * *"),
        ("*/15 9-17 * * mon-fri", "0 */15 9-17 * * mon-fri"),
        (" 0  0 1,15 JAN ? ", "0 0 0 1,15 JAN ?"),
        ("@daily", "0 0 0 * * *"),
        ("@Hourly", "0 0 * * * *"),
        ("5/10 * * * *", "0 5/10 * * * *"),
    ],
)
def test_cron_in_six_fields(given: str, normal: str) -> None:
    assert normal_cron(given) == normal


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("0 0 0 1 1 * 2026", "7 fields"),
        ("60 * * * *", "minute from 0 to 59"),
        ("0 24 * * *", "hour from 0 to 23"),
        ("0 0 0 * *", "day of the month from 1"),
        ("0 0 * 13 *", "month from 1 to 12"),
        ("0 0 * * 7", "day of the week from 0 to 6"),
        ("0 0 * * fry", "day of the week"),
        ("5-1 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("*-5 * * * *", "minute"),
        ("1,,2 * * * *", "minute"),
        ("@every 5m", "2 fields"),
        ("@yesterday", "1 fields"),
        ("-1 * * * *", "minute"),
        ("٣ 3 * * *", "minute"),
    ],
)
def test_what_is_no_cron_is_named(given: str, said: str) -> None:
    with pytest.raises(InputError, match=f"--cron.*{said}"):
        normal_cron(given)


def at(hour: int, minute: int, second: int) -> datetime:
    return datetime(2026, 11, 21, hour, minute, second, 999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "moment", "fires"),
    [
        ("0 0 3 * * *", at(3, 0, 0), True),
        ("0 0 3 * * *", at(3, 0, 20), False),
        ("0 0 3 * * *", at(2, 59, 55), True),
        ("0 0 3 * * *", at(2, 59, 49), False),
        ("0 0 3 * * *", at(8, 30, 0), True),  # it may be 3 o'clock where Kubeflow is
        ("0 0 3 * * *", at(8, 45, 5), False),
        ("0 7 * * * *", at(8, 7, 0), True),
        ("0 7 * * * *", at(8, 22, 0), True),
        ("0 7 * * * *", at(8, 10, 0), False),
        ("30 * * * * *", at(8, 10, 29), True),
        ("30 * * * * *", at(8, 10, 10), False),
        ("* * * * * *", at(8, 10, 10), True),
        ("@every 1h", at(8, 10, 10), True),  # unknown: it may
        ("", at(8, 10, 10), True),
    ],
)
def test_when_a_schedule_may_fire(cron: str, moment: datetime, fires: bool) -> None:
    assert may_fire(cron, moment, moment + timedelta(seconds=10)) is fires
