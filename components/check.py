"""Component `check`: every parameter of the run is checked before any work, and handed out step by step."""

from typing import NamedTuple

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def check(
    params: str,
    form: str,
    overrides: str,
    source: str,
    model: str,
    checkpoint: str,
    name: str,
    source_version: str,
    store: str,
) -> NamedTuple(
    "Settings",
    [
        ("source_version", str),
        ("memory", str),
        ("ingest", str),
        ("extract", str),
        ("validate", str),
        ("adapt", str),
        ("fetch", str),
        ("import_", str),
        ("pretrain", str),
        ("finetune", str),
        ("average", str),
        ("evaluate", str),
        ("package", str),
        ("compare", str),
        ("promote", str),
    ],
):
    """Check the parameters of all steps, and part them by step, so that a change of one step's leaves the others' results valid.

    Args:
        params: JSON of the sections of params.yaml that the pipeline was compiled with.
        form: The form's fields as lines step.key=value.
        overrides: Lines step.key=value that stand over them and over the form's fields.
        source: What is to be ingested.
        model: The form's field of that name, as in fetch.source; empty where there is none.
        checkpoint: The form's field of that name, as in adapt.checkpoint; empty where there is none.
        name: The form's field of that name, as in package.name; empty where there is none.
        source_version: What changes when the source does; empty: it is looked up here.
        store: Where shards are to lie. It must be named.

    Returns:
        source_version: As given, or as the source is now.
        memory: Where the clips' ids, splits and shards are kept from run to run.
        ingest: What the step ingest reads its parameters from, as JSON; so for the others.
        extract: As for ingest.
        validate: As for ingest.
        adapt: As for ingest.
        fetch: As for ingest.
        import_: As for ingest, of the step import.
        pretrain: As for ingest.
        finetune: As for ingest.
        average: As for ingest.
        evaluate: As for ingest.
        package: As for ingest.
        compare: As for ingest.
        promote: As for ingest.
    """
    from components.settling import settle

    return settle(params, form, overrides, source_version, store, source, model, checkpoint, name)
