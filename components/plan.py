"""Component `plan`: how many parts the extraction falls into."""

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def plan(clips: dsl.Input[dsl.Dataset], clips_version: str, parts: int) -> list[str]:
    """Name the parts of the manifest that are extracted side by side; a part is a set of whole shards.

    Args:
        clips: The manifest.
        clips_version: Hash of the manifest.
        parts: Most parts; there are never more than shards.

    Returns:
        Output: The parts: 1/8, 2/8 and so on.
    """
    from components.planning import plan_parts

    return plan_parts(clips.path, clips_version, parts)
