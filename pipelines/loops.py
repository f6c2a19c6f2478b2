"""What a loop's body gets from tasks before the loop, on this machine.

Kfp 2.17's local runners hand the loop's item to every parameter of the body that comes from an earlier task's output.
Kubeflow does not. Here the body gets what it was given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def loops_given_what_they_ask_for() -> Iterator[None]:
    """Have kfp's local runners leave parameters alone that are not the loop's item."""
    from kfp.local.orchestrator import task_spec_utils

    original = task_spec_utils.create_parameter_loop_iteration_task_spec

    def repaired(original_task_spec: Any, loop_item: Any, loop_task_name: str) -> Any:
        made = original(original_task_spec, loop_item, loop_task_name)
        for name, given in original_task_spec.inputs.parameters.items():
            if given.HasField("task_output_parameter"):
                made.inputs.parameters[name].CopyFrom(given)
        return made

    task_spec_utils.create_parameter_loop_iteration_task_spec = repaired
    try:
        yield
    finally:
        task_spec_utils.create_parameter_loop_iteration_task_spec = original
