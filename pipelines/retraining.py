"""Pipeline `cavmae-retrain`: new data, a new candidate, and the better of candidate and champion."""

from collections.abc import Callable

from kfp import dsl

from components.compare import compare
from components.farewell import farewell
from components.promote import promote
from pipelines.data import KNOBS as DATA_KNOBS
from pipelines.data import STEPS as DATA_STEPS
from pipelines.data import prepare, refuse_data
from pipelines.form import Form
from pipelines.site import Site
from pipelines.training import FINETUNE_KNOBS, FINETUNE_STEPS, fetched, finetuned

NAME = "cavmae-retrain"
STEPS = (*DATA_STEPS, *FINETUNE_STEPS, "compare", "promote")
KNOBS = {
    **DATA_KNOBS,
    **FINETUNE_KNOBS,
    "metric": "compare.metric",
    "rule": "compare.rule",
    "margin": "compare.margin",
}


def define(site: Site) -> Callable[..., None]:
    """Return the pipeline's function for a site, without its form."""

    def retraining(
        source: str,
        source_version: str,
        window_s: float,
        val_share: float,
        test_share: float,
        frames: int,
        frame_size: int,
        parts: int,
        store: str,
        max_quarantined_share: float,
        model: str,
        mode: str,
        epochs: int,
        batch_size: int,
        lr: float,
        precision: str,
        device: str,
        seed: int,
        name: str,
        registry: str,
        metric: str,
        rule: str,
        margin: float,
        overrides: str,
    ) -> None:
        """Retrain the champion on new data, and promote the better of the two."""
        form = Form(locals())
        end = site.place(
            farewell(pipeline=NAME, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, reports=site.settings.storage.reports),
            name="how it ended",
            cached=False,
        )
        with dsl.ExitHandler(exit_task=end, name="run"):
            data = prepare(site, form, KNOBS)
            start = fetched(site, data, form)
            with dsl.If(data.passed == True, name="gate open"):  # noqa: E712 - kfp reads the comparison
                packaged = finetuned(site, data, start, form)
                candidate = {"candidate": packaged.outputs["model"], "candidate_version": packaged.outputs["Output"]}
                # neither comes from the cache: the champion may be another one by now
                compared = site.place(
                    compare(
                        **candidate,
                        dataset=data.dataset,
                        dataset_version=data.version,
                        registry=registry,
                        metric=metric,
                        rule=rule,
                        margin=margin,
                        device=device,
                        settings=data.settings["compare"],
                    ),
                    "compare",
                    cached=False,
                )
                site.place(
                    promote(
                        **candidate,
                        decision=compared.outputs["decision"],
                        registry=registry,
                        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                        settings=data.settings["promote"],
                    ),
                    "promote",
                    "promote or keep",
                    cached=False,
                )
            with dsl.Else(name="gate closed"):
                refuse_data(site, data)

    return retraining
