"""On a GPU as on a CPU: whatever ends a training, it comes to the same bits. Checkpoints are written beside the steps there."""

from pathlib import Path

import pytest

from tests.training.test_faults import carried_out, check, undisturbed

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM", "full"])
@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_a_fault_at_every_seventh_event_on_a_gpu(tmp_path: Path, step: str, kind: str) -> None:
    _, events = undisturbed(step, "cuda")
    faults = [(at, kind) for at in range(1, len(events) + 1, 7)]
    check(step, carried_out(tmp_path, step, faults, device="cuda"), "cuda")


@pytest.mark.parametrize("step", ["pretrain", "finetune"])
def test_two_undisturbed_runs_on_a_gpu_are_equal(tmp_path: Path, step: str) -> None:
    (found,) = carried_out(tmp_path, step, [(0, "SIGKILL")], device="cuda")
    found["again"] = found["first"]
    found["first"] = (-9, *found["first"][1:])
    check(step, [found], "cuda")
