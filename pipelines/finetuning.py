"""Pipeline `cavmae-finetune`: labelled videos and a model to start from become a classifier."""

from collections.abc import Callable

from kfp import dsl

from components.farewell import farewell
from pipelines.data import KNOBS as DATA_KNOBS
from pipelines.data import STEPS as DATA_STEPS
from pipelines.data import prepare, refuse_data
from pipelines.form import Form
from pipelines.site import Site
from pipelines.training import FINETUNE_KNOBS, FINETUNE_STEPS, fetched, finetuned

NAME = "cavmae-finetune"
STEPS = (*DATA_STEPS, *FINETUNE_STEPS)
KNOBS = {**DATA_KNOBS, **FINETUNE_KNOBS}


def define(site: Site) -> Callable[..., None]:
    """Return the pipeline's function for a site, without its form."""

    def finetuning(
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
        overrides: str,
    ) -> None:
        """Fine-tune a given model on labelled videos, and measure and package the classifier."""
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
                finetuned(site, data, start, form)
            with dsl.Else(name="gate closed"):
                refuse_data(site, data)

    return finetuning
