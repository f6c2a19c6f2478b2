"""Component of the step `promote`."""

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def promote(
    candidate: dsl.Input[dsl.Model],
    candidate_version: str,
    decision: dsl.Input[dsl.Artifact],
    registry: str,
    run_id: str,
    settings: str,
) -> str:
    """Carry out the decision: the candidate becomes champion, or the champion is kept. A run does so once.

    Args:
        candidate: The new model.
        candidate_version: Hash of that model.
        decision: What compare decided.
        registry: Folder or s3:// of the registry.
        run_id: The run that promotes.
        settings: The other parameters, from the component check.

    Returns:
        Output: What was done.
    """
    from components.running import run
    from components.showing import promotion_sentence

    paths = {"candidate": candidate.path, "decision": decision.path, "registry": registry}
    return promotion_sentence(run("promote", settings, paths, {"run_id": run_id}, {"candidate": candidate_version}))
