"""Pipeline `cavmae-pretrain`: videos without labels become a pretrained model."""

from collections.abc import Callable

from kfp import dsl

from components.adapt import adapt
from components.evaluate import evaluate
from components.farewell import farewell
from components.pretrain import pretrain
from pipelines.data import KNOBS as DATA_KNOBS
from pipelines.data import STEPS as DATA_STEPS
from pipelines.data import prepare, refuse_data
from pipelines.form import Form
from pipelines.site import Site

NAME = "cavmae-pretrain"
STEPS = (*DATA_STEPS, "adapt", "pretrain", "evaluate")
KNOBS = {
    **DATA_KNOBS,
    "checkpoint": "adapt.checkpoint",
    "epochs": "pretrain.epochs",
    "batch_size": "pretrain.batch_size",
    "lr": "pretrain.lr",
    "precision": "pretrain.precision",
    "device": "pretrain.device",
    "seed": "pretrain.seed",
}


def define(site: Site) -> Callable[..., None]:
    """Return the pipeline's function for a site, without its form."""

    def pretraining(
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
        checkpoint: str,
        epochs: int,
        batch_size: int,
        lr: float,
        precision: str,
        device: str,
        seed: int,
        overrides: str,
    ) -> None:
        """Pretrain CAV-MAE on a team's own videos, without labels, and measure how well sound and picture find each other."""
        form = Form(locals())
        end = site.place(
            farewell(pipeline=NAME, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, reports=site.settings.storage.reports),
            name="how it ended",
            cached=False,
        )
        with dsl.ExitHandler(exit_task=end, name="run"):
            data = prepare(site, form, KNOBS)
            with dsl.If(data.passed == True, name="gate open"):  # noqa: E712 - kfp reads the comparison
                dataset = {"dataset": data.dataset, "dataset_version": data.version}
                adapted = site.place(adapt(**dataset, checkpoint=checkpoint, settings=data.settings["adapt"]), "adapt")
                trained = site.place(
                    pretrain(
                        **dataset,
                        start=adapted.outputs["model"],
                        start_version=adapted.outputs["Output"],
                        epochs=epochs,
                        batch_size=batch_size,
                        lr=lr,
                        precision=precision,
                        device=device,
                        seed=seed,
                        settings=data.settings["pretrain"],
                        launch=site.launch,
                    ),
                    "pretrain",
                )
                site.place(
                    evaluate(
                        **dataset,
                        pretrained=trained.outputs["model"],
                        model_version=trained.outputs["Output"],
                        curves=trained.outputs["curves"],
                        device=device,
                        settings=data.settings["evaluate"],
                    ),
                    "evaluate",
                    "evaluate retrieval",
                )
            with dsl.Else(name="gate closed"):
                refuse_data(site, data)

    return pretraining
