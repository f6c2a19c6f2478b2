"""`python -m tests.dags.run_package PACKAGE PARAMETERS RUN_ID WORK`: run a compiled pipeline here, as its run of that id."""

import json
import logging
import sys
from pathlib import Path

from kfp import components, local

from cavmae.errors import StepFailed
from pipelines.local_runs import run_here
from pipelines.settings import read_settings


def main(package: str, parameters: str, run_id: str, work: str) -> int:
    """Return 0 where every task went well, 1 where one failed; its complaint is the last line of standard error."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    pipeline = components.load_component_from_text(Path(package).read_text())
    ids = iter([run_id])
    drawn = local.placeholder_utils.make_random_id
    # the first that is drawn is the run's own, which the promotion writes down
    local.placeholder_utils.make_random_id = lambda: next(ids, None) or drawn()
    try:
        name = str(pipeline.name)
        run_here(pipeline, name, json.loads(Path(parameters).read_text()), "subprocess", read_settings(None), Path(work))
    except StepFailed as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
