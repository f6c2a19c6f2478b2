"""Component of the step `extract`, for one part of the manifest."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def extract(
    clips: dsl.Input[dsl.Dataset],
    clips_version: str,
    part: str,
    store: str,
    frames: int,
    frame_size: int,
    settings: str,
    out: dsl.Output[dsl.Dataset],
) -> str:
    """Decode the clips of one part of the manifest, and write its shards to the store.

    Args:
        clips: The manifest.
        clips_version: Hash of the manifest.
        part: Which part: 3/8 is the third of eight.
        store: Where shards go: a folder that all pods see, or s3://bucket/prefix.
        frames: Pictures a clip, evenly spread over it.
        frame_size: Side of the square pictures in pixels.
        settings: The other parameters, from the component check.

    Returns:
        out: Index, media facts and quarantine of the part; the shards lie in the store.
        Output: Hash of the part's index.
    """
    from components.running import run, version_of

    values = {"part": part, "store": store, "frames": frames, "frame_size": frame_size}
    run("extract", settings, {"clips": clips.path, "out": out.path}, values, {"clips": clips_version})
    return version_of(out.path)
