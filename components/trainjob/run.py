"""A training step on several nodes: a TrainJob is made, followed to its end, and removed."""

import os
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cavmae import steps
from cavmae.errors import InputError, Interrupted
from cavmae.runlog import RUN_VARIABLE
from cavmae.storage import sha256_json
from components.torchrun import FOLLOWED
from components.trainjob.cluster import Cluster, ClusterSilent, connect, own_pod
from components.trainjob.document import trainjob_document
from components.trainjob.folder import JobFolder
from components.trainjob.follow import follow, remove, start
from components.trainjob.options import ClusterOptions
from components.worker import FOLDER

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# the step's own variables that the nodes get as well; what is secret comes to them from Secrets (secret_env), never from here
_PASSED_ON = re.compile(r"CAVMAE_(?!.*(SECRET|KEY|TOKEN|PASSWORD|CREDENTIAL))\w+|AWS_(ENDPOINT_URL(_S3)?|REGION|DEFAULT_REGION)")


def run_trainjob(
    step: str,
    arguments: Sequence[str],
    inputs: Mapping[str, Path],
    outputs: Mapping[str, Path],
    *,
    image: str,
    nodes: int,
    gpus: int,
    options: ClusterOptions,
    run_id: str | None = None,
    task: str = "",
) -> None:
    """Run `cavmae STEP ARGUMENTS` on `nodes` machines with `gpus` GPUs each, one process a GPU, and bring its outputs back.

    `inputs` and `outputs` are local paths by the names in the step's description; `arguments` are the other words of the command.
    They travel through the folder `options.shared_path`. The job is named after the run (`run_id`, or the one that Kubeflow
    wrote on this pod) and what is run, so a second call of the same run follows the job that is there; one that failed is
    replaced. It is deleted when this is asked to stop (SIGTERM: Interrupted), when it fails (StepFailed with the nodes' own
    words, InputError where the user's input is wrong), and when its outputs are here. `task` tells two uses of a step in one run
    apart that have the same arguments.
    """
    if nodes < 2:
        raise InputError(f"{step}: {nodes} nodes; a TrainJob is for 2 or more")
    client, namespace = connect()
    cluster = Cluster(client, namespace)
    owner = own_pod()
    run = run_id or os.environ.get(RUN_VARIABLE) or (cluster.run_id(owner.name) if owner is not None else None)
    if not run:
        raise InputError(f"{step}: the run has no id by which its TrainJob could be found again; set {RUN_VARIABLE}")
    name = f"cavmae-{step}-{sha256_json([run, step, task, list(arguments)])[:10]}"
    folder = JobFolder(Path(options.shared_path), name)
    document = trainjob_document(
        name,
        steps.load(step),
        [*arguments, *_places(step, inputs, outputs, folder)],
        image=image,
        nodes=nodes,
        gpus=gpus,
        env={**_passed_on(), "CAVMAE_WORK": str(folder.work), FOLLOWED: str(folder.followed)},
        labels={"cavmae.pipelines/step": step, "cavmae.pipelines/run": run if _LABEL.fullmatch(run) else sha256_json(run)[:16]},
        options=options,
        owner=owner,
    )
    with _stoppable(name):
        try:
            start(cluster, document, folder, inputs, options)
            follow(cluster, name, step, folder, options)
        except ClusterSilent:
            raise  # the job may be well, and a retry finds it; where there is none, the nodes notice that nobody follows them
        except BaseException:
            remove(cluster, name)
            raise
        # from here a failure leaves the job: it ended well, and a retry only has to fetch what it made
        folder.collect(outputs)
        remove(cluster, name)
        folder.remove()


def _places(step: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], folder: JobFolder) -> Iterator[str]:
    """The flags that tell the nodes where everything lies; outputs that nobody asked for lie beside the others."""
    description = steps.load(step)
    known = {artifact.name for artifact in (*description.inputs, *description.outputs)}
    if strange := sorted({*inputs, *outputs} - known):
        raise InputError(f"{step}: has no input or output {strange[0]!r}; it has {', '.join(sorted(known))}")
    for artifact in description.inputs:
        if artifact.name not in inputs and not artifact.optional:
            raise InputError(f"{step}: input {artifact.name!r} is missing")
        place = str(folder.input(artifact.name)) if artifact.name in inputs else "none"
        yield f"--{artifact.name.replace('_', '-')}={place}"
    for artifact in description.outputs:
        yield f"--{artifact.name.replace('_', '-')}={folder.output(artifact.name)}"


def _passed_on() -> dict[str, str]:
    ours = ("CAVMAE_WORK", FOLDER, FOLLOWED)
    return {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name) and name not in ours}


class _Stopped(BaseException):
    """SIGTERM came; no `except Exception` on the way may take it for its own, as logging does."""


@contextmanager
def _stoppable(name: str) -> Iterator[None]:
    """Let the first SIGTERM end the block with Interrupted, at once: the pod may have only moments left."""
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = True
            raise _Stopped

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # signals can only be heard in the main thread
        yield
        return
    try:
        yield
    except _Stopped:
        raise Interrupted(
            f"asked to stop; TrainJob {name} is deleted, and the same run goes on from its last checkpoint"
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)
