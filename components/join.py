"""Component `join`: the step `extract` once more, which finds every part done and writes the index of all shards."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def join(
    clips: dsl.Input[dsl.Dataset],
    clips_version: str,
    parts: list[str],
    store: str,
    frames: int,
    frame_size: int,
    settings: str,
    out: dsl.Output[dsl.Dataset],
) -> str:
    """Write the index of all shards in the store; no shard is copied. One that is missing is made again.

    Args:
        clips: The manifest.
        clips_version: Hash of the manifest.
        parts: What the parts gave back; they have to be done first.
        store: Where the shards lie.
        frames: Pictures a clip, evenly spread over it.
        frame_size: Side of the square pictures in pixels.
        settings: The other parameters, from the component check.

    Returns:
        out: Index, media facts and quarantine of all shards.
        Output: Hash of the index.
    """
    from components.running import run, version_of

    values = {"store": store, "frames": frames, "frame_size": frame_size}
    run("extract", settings, {"clips": clips.path, "out": out.path}, values, {"clips": clips_version})
    return version_of(out.path)
