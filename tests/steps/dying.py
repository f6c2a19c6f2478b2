"""`python -m tests.steps.dying N …` is `cavmae …` whose whole process group dies once a process of it has stored its N-th file.

A test that watches a store and kills what writes there may look too late on a busy machine; this one cannot. Extraction's
workers import the main module again, so that they die as well.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from cavmae.cli import main
from cavmae.stores import Store
from cavmae.stores_folder import FolderStore
from cavmae.stores_s3 import S3Store

left = int(sys.argv[1])


def dying(put: Callable[[Store, str, Path], None]) -> Callable[[Store, str, Path], None]:
    def put_and_die(store: Store, name: str, path: Path) -> None:
        global left
        put(store, name, path)
        left -= 1
        if left == 0:
            os.killpg(0, signal.SIGKILL)

    return put_and_die


for kind in (FolderStore, S3Store):
    kind.put = dying(kind.put)  # type: ignore[method-assign, assignment, arg-type]

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
