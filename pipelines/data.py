"""The part that all pipelines share: from a source of videos to a data set that may be trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from components.check import check
from components.extract import extract
from components.ingest import ingest
from components.join import join
from components.plan import plan
from components.refuse import refuse
from components.validate import validate
from pipelines.form import Form
from pipelines.site import Site

STEPS = ("ingest", "extract", "validate")
KNOBS = {
    "source": "ingest.source",
    "window_s": "ingest.window_s",
    "val_share": "ingest.val_share",
    "test_share": "ingest.test_share",
    "frames": "extract.frames",
    "frame_size": "extract.frame_size",
    "max_quarantined_share": "validate.max_quarantined_share",
}


@dataclass(frozen=True)
class Prepared:
    """What comes of it: the settings of every step, the verdict, and the data set with its version."""

    settings: dict[str, Any]
    passed: Any
    failure: Any
    documents: Any
    dataset: Any
    version: Any


def prepare(site: Site, form: Form, knobs: Mapping[str, str]) -> Prepared:
    """Check the parameters, `knobs` of which the form shows; ingest, extract in parts side by side, join, validate."""
    # never from the cache: it looks at the source as it is now
    checked = site.place(
        check(
            params=site.params,
            form=form.lines(knobs),
            overrides=form["overrides"],
            **form.texts(),
            source_version=form["source_version"],
            store=form["store"],
        ),
        name="check parameters",
        cached=False,
    )
    settings = checked.outputs
    ingested = site.place(
        ingest(
            source=form["source"],
            source_version=settings["source_version"],
            memory=settings["memory"],
            val_share=form["val_share"],
            test_share=form["test_share"],
            window_s=form["window_s"],
            settings=settings["ingest"],
        ),
        "ingest",
    )
    manifest = {"clips": ingested.outputs["out"], "clips_version": ingested.outputs["Output"]}
    shards = {
        "store": form["store"],
        "frames": form["frames"],
        "frame_size": form["frame_size"],
        "settings": settings["extract"],
    }
    parts = site.place(plan(**manifest, parts=form["parts"]), name="plan parts")
    with dsl.ParallelFor(parts.output, parallelism=site.settings.data.parallelism or None) as part:
        extracted = site.place(extract(**manifest, **shards, part=part), "extract")
    joined = site.place(join(**manifest, **shards, parts=dsl.Collected(extracted.outputs["Output"])), "extract", "join")
    validated = site.place(
        validate(
            **manifest,
            shards=joined.outputs["out"],
            shards_version=joined.outputs["Output"],
            max_quarantined_share=form["max_quarantined_share"],
            settings=settings["validate"],
        ),
        "validate",
    )
    made = validated.outputs
    return Prepared(settings, made["passed"], made["failure"], made["documents"], made["out"], made["version"])


def refuse_data(site: Site, prepared: Prepared) -> None:
    """The branch of a closed gate."""
    site.place(refuse(failure=prepared.failure, documents=prepared.documents), name="gate closed", cached=False)
