"""Progress of long work in a log."""

import logging

import pytest

from cavmae.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO, "cavmae.progress"), Progress("reading", 100, clock=clock) as progress:
        for _ in range(100):
            clock.seconds += 1
            progress.advance()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("reading: 15/100 clips, 1.0/s")
    assert lines[-1] == "reading: 100 clips in 100.0 s (1.0/s)"
    assert len(lines) == 7


def test_the_rate_of_a_resumed_run_leaves_out_what_an_earlier_one_did() -> None:
    clock = Clock()
    progress = Progress("training", 100, unit="step", start=90, clock=clock)
    clock.seconds = 5.0
    progress.advance(10)
    assert progress.done == 100
    assert progress.rate == pytest.approx(2.0)


def test_nothing_is_said_where_nothing_was_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cavmae.progress"), Progress("reading", 0):
        pass
    assert not caplog.records
