"""Inside a loop, parameters that come from earlier tasks keep their values; only the loop's item changes."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl, local

from pipelines.loops import loops_given_what_they_ask_for


@dsl.component(base_image="python", install_kfp_package=False)
def word() -> str:
    return "earlier"


@dsl.component(base_image="python", install_kfp_package=False)
def items() -> list[str]:
    return ["1/2", "2/2"]


@dsl.component(base_image="python", install_kfp_package=False)
def note(item: str, given: str, folder: str) -> str:
    from pathlib import Path

    Path(folder, item.replace("/", "-")).write_text(given)
    return item


def pipeline() -> Any:
    @dsl.pipeline(name="loop")
    def loop(folder: str) -> None:
        before = word()
        with dsl.ParallelFor(items().output) as item:
            note(item=item, given=before.output, folder=folder)

    return loop


@pytest.mark.slow
def test_the_body_gets_the_item_and_what_came_before(tmp_path: Path) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=True)
    with loops_given_what_they_ask_for():
        pipeline()(folder=str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.glob("*-2")} == {"1-2": "earlier", "2-2": "earlier"}


def test_the_repair_is_taken_back() -> None:
    from kfp.local.orchestrator import task_spec_utils

    before = task_spec_utils.create_parameter_loop_iteration_task_spec
    with loops_given_what_they_ask_for():
        assert task_spec_utils.create_parameter_loop_iteration_task_spec is not before
    assert task_spec_utils.create_parameter_loop_iteration_task_spec is before
