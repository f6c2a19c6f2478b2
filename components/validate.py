"""Component of the step `validate`: a closed gate is a result, which the pipeline acts on."""

from typing import NamedTuple

from kfp import dsl

from components.images import DATA


@dsl.component(base_image=DATA, install_kfp_package=False)
def validate(
    clips: dsl.Input[dsl.Dataset],
    clips_version: str,
    shards: dsl.Input[dsl.Dataset],
    shards_version: str,
    max_quarantined_share: float,
    settings: str,
    out: dsl.Output[dsl.Dataset],
    documents: dsl.Output[dsl.HTML],
    counts: dsl.Output[dsl.Metrics],
) -> NamedTuple("Verdict", [("passed", bool), ("failure", str), ("version", str)]):
    """Hold manifest, shards and media facts against the expectations.

    Args:
        clips: The manifest.
        clips_version: Hash of the manifest.
        shards: The index of all shards.
        shards_version: Hash of the index.
        max_quarantined_share: Share of all inputs that may be quarantined, by all steps together.
        settings: The other parameters, from the component check.

    Returns:
        out: The accepted clips, the quarantine of all steps, and the verdict.
        documents: What was expected, and what was found.
        counts: Clips by split, and quarantined inputs.
        passed: Whether training may begin.
        failure: Which expectation was not met, where training may not.
        version: Hash of the accepted clips.
    """
    from components.running import run, version_of
    from components.showing import show_verdict

    paths = {"clips": clips.path, "shards": shards.path, "out": out.path}
    versions = {"clips": clips_version, "shards": shards_version}
    verdict = run("validate", settings, paths, {"max_quarantined_share": max_quarantined_share}, versions)
    show_verdict(verdict, documents.path, counts)
    return (verdict.passed, verdict.failure() or "", version_of(out.path))
