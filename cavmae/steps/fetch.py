"""Step `fetch`: the model that training starts from, brought to this machine."""

import logging
from pathlib import Path

from cavmae.errors import InputError
from cavmae.models.params import FetchParams
from cavmae.steps.step import Artifact, Step

log = logging.getLogger(__name__)


def fetch(registry: str | None, model: Path, params: FetchParams) -> str:
    """Bring the model to start from: the registry's champion where it has one, else the model folder that is given.

    Returns where it came from. Raises InputError where there is neither, and where what is there is no whole model folder.
    """
    from cavmae.models.fetching import bring_model, fetched_folder
    from cavmae.models.registries import open_registry
    from cavmae.outputs import check_replaceable
    from cavmae.stores import is_remote

    inputs = [Path(place) for place in (registry, params.source) if place is not None and not is_remote(place)]
    check_replaceable(model, inputs, fetched_folder(), "--model")
    versions = open_registry(registry) if registry is not None else None
    champion = versions.read_champion() if versions is not None else None
    if versions is not None and champion is not None:
        origin = f"champion {champion.version} of {registry}"
        if params.source is not None:
            log.info("fetch: %s has a champion, so %s is left alone", registry, params.source)
        bring_model(str(versions.model_folder(champion.version)), model, origin, champion.sha256)
    elif params.source is not None:
        origin = params.source
        bring_model(origin, model, origin)
    else:
        missing = "no registry is given" if registry is None else f"{registry} has no champion yet"
        raise InputError(f"{missing}, and fetch.source is not set; name a model folder there, or a registry with a champion")
    log.info("fetch: %s -> %s", origin, model)
    return origin


def as_text(origin: str, params: FetchParams) -> str:
    """Where the model came from."""
    return origin


STEP = Step(
    function=fetch,
    params=FetchParams,
    inputs=(
        Artifact(
            "registry",
            "models/registry",
            "folder or s3:// prefix of the registry whose champion is taken",
            optional=True,
            remote=True,
        ),
    ),
    outputs=(Artifact("model", "models/fetched", "folder for the model"),),
    image="train",
    cpu=1,
    memory_gb=4,
    in_pipeline=False,
    present=as_text,
)
