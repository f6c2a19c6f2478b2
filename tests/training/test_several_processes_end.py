"""Several processes end together, whatever ends one of them: none hangs, one checkpoint is written, one of them says why."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.launch import Fault, each_by_hand, finished, wait_for_checkpoint, words

pytestmark = pytest.mark.slow
LONG: dict[str, Any] = {"epochs": 500, "checkpoint_s": 1e-4}
WITHIN_S = 30  # of the first end, on a busy machine


def ended(processes: list[Any]) -> tuple[list[int], list[str]]:
    """Wait for all; return exit codes and what each said in the command's name."""
    results = [finished(process) for process in processes]
    for _, messages in results:
        assert "Traceback" not in messages, messages
    said = [[line for line in messages.splitlines() if line.startswith("cavmae ")] for _, messages in results]
    return [code for code, _ in results], ["\n".join(lines) for lines in said]


@pytest.mark.parametrize(("rank", "how"), [(1, signal.SIGTERM), (0, signal.SIGTERM), (2, signal.SIGINT)])
def test_a_signal_to_one_stops_all_at_the_same_step_with_75(tmp_path: Path, rank: int, how: signal.Signals) -> None:
    processes = each_by_hand(tmp_path, [words("finetune", tmp_path, **LONG)] * 3)
    wait_for_checkpoint(tmp_path, processes[0])
    processes[rank].send_signal(how)
    codes, said = ended(processes)
    assert codes == [75, 75, 75], said
    assert said[0].startswith("cavmae finetune: stopped at step ") and said[1:] == ["", ""]
    step = int(said[0].split()[5])
    assert max(path.name for path in tmp_path.glob("work/*/*/step-*.pt")) == f"step-{step:09d}.pt"


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_process_ends_the_others(tmp_path: Path, rank: int) -> None:
    processes = each_by_hand(tmp_path, [words("pretrain", tmp_path, **LONG)] * 3)
    wait_for_checkpoint(tmp_path, processes[0])
    processes[rank].kill()
    killed = time.monotonic()
    codes, said = ended(processes)
    assert time.monotonic() - killed < WITHIN_S
    assert codes == [-signal.SIGKILL if number == rank else 1 for number in range(3)]
    for number in {0, 1, 2} - {rank}:
        assert "another process of this training failed or is gone" in said[number]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(rank=1, read=9), "the disk of this process is broken"),
        (Fault(rank=0, read=1), "the disk of this process is broken"),
        (Fault(rank=0, read=None), "the model cannot be written"),
    ],
)
def test_one_that_fails_says_why_and_the_others_that_it_was_not_them(tmp_path: Path, fault: Fault, message: str) -> None:
    line = [str(tmp_path), *fault.words(), *words("pretrain", tmp_path)]
    codes, said = ended(each_by_hand(tmp_path, [line] * 3, "tests.training.worker"))
    assert codes == [1, 1, 1]
    assert said[fault.rank] == f"cavmae pretrain: {message}"
    for number in {0, 1, 2} - {fault.rank}:
        assert "another process of this training failed or is gone" in said[number]
    assert not (tmp_path / "model").exists()


def test_a_loss_that_is_no_number_stops_all_and_is_said_once(tmp_path: Path) -> None:
    codes, said = ended(each_by_hand(tmp_path, [words("pretrain", tmp_path, lr=1e38)] * 2))
    assert codes == [1, 1] and said[1] == ""
    assert "the loss is nan at step 2; lower lr or set clip_grad_norm" in said[0]


def test_what_is_wrong_for_all_is_said_once_with_2(tmp_path: Path) -> None:
    line = words("pretrain", tmp_path)
    line[line.index("--dataset") + 1] = str(tmp_path / "nothing")
    codes, said = ended(each_by_hand(tmp_path, [line] * 3))
    assert codes == [2, 2, 2] and said[1:] == ["", ""]
    assert "index.json is missing" in said[0]


def test_processes_that_were_given_different_things_do_not_train(tmp_path: Path) -> None:
    codes, said = ended(each_by_hand(tmp_path, [words("pretrain", tmp_path), words("pretrain", tmp_path, seed=1)]))
    assert codes == [1, 2]
    assert "process 1 has other code, data, parents or parameters than process 0" in said[1]
    assert not list(tmp_path.glob("work/*/*/step-*.pt"))
