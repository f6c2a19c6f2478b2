"""Component of the step `ingest`."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def ingest(
    source: str,
    source_version: str,
    memory: str,
    val_share: float,
    test_share: float,
    window_s: float,
    settings: str,
    out: dsl.Output[dsl.Dataset],
) -> str:
    """List the clips of a source: identity, labels, split, content hash and shard of each; what is no media is quarantined.

    Args:
        source: What to ingest, as in ingest.source.
        source_version: What changes when the source does; it only keeps a result of other data from being taken for this one's.
        memory: Where the clips' ids, splits and shards are kept from run to run, as in ingest.memory.
        val_share: Share of the groups of each label that becomes the validation split.
        test_share: Share of the groups of each label that becomes the test split.
        window_s: Length of a clip in seconds.
        settings: The other parameters, from the component check.

    Returns:
        out: The manifest, clips.parquet, with labels and quarantine.
        Output: Hash of the manifest, labels and quarantine.
    """
    from components.running import run, version_of

    values = {"memory": memory, "source": source, "val_share": val_share, "test_share": test_share, "window_s": window_s}
    run("ingest", settings, {"out": out.path}, values)
    return version_of(out.path)
