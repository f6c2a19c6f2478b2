"""The log of a local run keeps the words of the steps and drops what kfp prints around them."""

import io

from pipelines.task_log import TaskLog

PRINTED = """14:00:00.001 - INFO - Executing task \x1b[96m'ingest'\x1b[0m
14:00:00.002 - INFO - Streamed logs:

    [KFP Executor 2026-11-21 14:00:00,100 INFO]: Looking for component `ingest` in --component_module_path `x.py`
    [KFP Executor 2026-11-21 14:00:00,101 INFO]: Got executor_input:
    {
        "inputs": {
            "parameterValues": {
                "secretish": "value"
            }
        }
    }
    ingest: 48 clips -> {out}
    {a line of a step that looks odd}

14:00:02.000 - INFO - Task \x1b[96m'ingest'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m
14:00:02.001 - INFO - Task \x1b[96m'ingest'\x1b[0m outputs:
    Output: 'abc'
    out: Dataset( name='out',
                  uri='/x',
                  metadata={} )
--------------------------------------------------------------------------------
14:00:02.002 - INFO - Executing task 'plan'
"""


def test_words_of_the_steps_and_the_course_of_tasks_remain() -> None:
    out = io.StringIO()
    log = TaskLog(out)
    for start in range(0, len(PRINTED), 7):  # pieces come as they come
        log.write(PRINTED[start : start + 7])
    assert out.getvalue().splitlines() == [
        "14:00:00.001 - INFO - Executing task 'ingest'",
        "    ingest: 48 clips -> {out}",
        "    {a line of a step that looks odd}",
        "14:00:02.000 - INFO - Task 'ingest' finished with status SUCCESS",
        "14:00:02.002 - INFO - Executing task 'plan'",
    ]
