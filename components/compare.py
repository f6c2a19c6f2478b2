"""Component of the step `compare`."""

from typing import NamedTuple

from kfp import dsl

from components.images import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def compare(
    dataset: dsl.Input[dsl.Dataset],
    dataset_version: str,
    candidate: dsl.Input[dsl.Model],
    candidate_version: str,
    registry: str,
    metric: str,
    rule: str,
    margin: float,
    device: str,
    settings: str,
    decision: dsl.Output[dsl.Artifact],
    figures: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.Markdown],
) -> NamedTuple("Decision", [("promote", bool), ("reason", str)]):
    """Measure the candidate and the champion on the same clips, and decide which is to be champion.

    Args:
        dataset: The validated data set; its shards are read from the store.
        dataset_version: Hash of the data set.
        candidate: The new model.
        candidate_version: Hash of that model.
        registry: Folder or s3:// of the registry.
        metric: What decides: mAP, accuracy, mAUC, precision, recall or f1.
        rule: interval, point or not_worse.
        margin: In units of the metric, which runs from 0 to 1.
        device: cpu or cuda.
        settings: The other parameters, from the component check.

    Returns:
        decision: The decision, and what it rests on.
        figures: The metric of both, and their difference with its interval.
        page: What was decided and why, for people.
        promote: Whether the candidate is to be champion.
        reason: Why.
    """
    from components.running import run
    from components.showing import show_comparison

    paths = {"dataset": dataset.path, "candidate": candidate.path, "registry": registry, "decision": decision.path}
    values = {"metric": metric, "rule": rule, "margin": margin, "device": device}
    found = run("compare", settings, paths, values, {"dataset": dataset_version, "candidate": candidate_version})
    show_comparison(found, metric, figures, page.path)
    return (found.promote, found.reason)
