"""Every recipe, from its lists to the first step: data, full-size model, optimizer, schedule, one batch in the model's shapes."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from cavmae import steps
from cavmae.dataset.loader import ClipSet
from cavmae.evaluation.inference import embed_clips
from cavmae.models.cavmae import CAVMAE
from cavmae.models.cavmaeft import CAVMAEFT
from cavmae.models.folder import Architecture, ClipShape, LabelName, ModelConfig, Normalisation
from cavmae.models.masking import len_keep, mask_from_noise
from cavmae.models.params import AdaptParams
from cavmae.params import load_section
from cavmae.recipe import Recipe
from cavmae.recipes import read_recipe
from cavmae.training.batches import model_inputs
from cavmae.training.finetuning import Finetuning
from cavmae.training.optimizer import build_optimizer, learning_rate
from cavmae.training.pretraining import Pretraining
from tests.test_recipe_files import FILES
from tests.training.recipe_data import SECONDS, published_like
from tests.training.tiny import PARAMS

CPU = torch.device("cpu")
# of the published models (inventory of the official state dicts)
PARAMETERS, TRAINABLE = 191_036_160, 190_129_920
HEADLESS = 164_907_023 - 768 * 2 - 527 * 769
NAMES = [name for name in FILES if not name.startswith("retrieve-")]


def recipe_of(name: str) -> Recipe:
    return read_recipe(str(FILES[name]))


def params_of(recipe: Recipe, step: str, *overrides: str) -> Any:
    return load_section(steps.load(step).params, step, PARAMS, overrides, recipe.overlay(step))


def config_of(data: ClipSet, recipe: Recipe) -> ModelConfig:
    """The configuration that `adapt` gives the first model of the line: the recipe's own, or that of the published checkpoint."""
    adapt: AdaptParams = params_of(recipe if "adapt" in recipe.params else recipe_of("pretrain-base"), "adapt")
    settings = data.settings
    shape = {"window_s": 10.0, "frames": settings["frames"], "frame_size": settings["image_size"]}
    return ModelConfig(
        kind="pretrained",
        architecture=Architecture.model_validate(adapt.model.model_dump()),
        clip=ClipShape.model_validate(shape | {key: settings[key] for key in ("frame_index", "sample_rate")}),
        normalisation=Normalisation.model_validate({"mean": adapt.mean, "std": adapt.std}),
        norm_pix_loss=True,
    )


def classifier(config: ModelConfig, data: ClipSet, mode: Any, single: bool) -> ModelConfig:
    labels = [LabelName(mid=label.mid, display_name=label.display_name) for label in data.labels]
    return config.model_copy(update={"kind": "classifier", "mode": mode, "single_label": single, "labels": labels})


@lru_cache(maxsize=4)
def _unfilled(described: str) -> CAVMAE | CAVMAEFT:
    config = ModelConfig.model_validate_json(described)
    with torch.device("meta"):
        model = config.build()
    return model.to_empty(device=CPU)


def unfilled(config: ModelConfig) -> CAVMAE | CAVMAEFT:
    """The full-size model in memory that is asked for but never written to, so that it costs next to nothing."""
    return _unfilled(
        config.model_copy(update={"mode": "multimodal" if config.mode else None, "norm_pix_loss": None}).model_dump_json()
    )


def check_rates(params: Any, optimizer: torch.optim.Optimizer) -> None:
    """Full rate at first, never rising, and as many decays as the schedule has."""
    rates = [learning_rate(params, epoch, 1) for epoch in range(params.epochs)]
    assert rates[: params.decay_start_epoch] == [params.lr] * min(params.decay_start_epoch, params.epochs)
    decays = math.ceil(max(0, params.epochs - params.decay_start_epoch) / params.decay_every_epochs)
    assert rates[-1] == pytest.approx(params.lr * params.decay_factor**decays)
    for group in optimizer.param_groups:
        assert (group["betas"], group["weight_decay"], group["eps"], group["lr"]) == ((0.95, 0.999), 5e-7, 1e-8, params.lr)
    assert type(optimizer) is torch.optim.Adam


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("pretrain-")])
def test_pretraining_is_ready_for_its_first_step(name: str) -> None:
    recipe = recipe_of(name)
    data = published_like(recipe)
    params, config = params_of(recipe, "pretrain"), config_of(data, recipe)
    assert (len(data.splits["train"]), len(data.splits["val"]), len(data.splits["test"])) == (8, 4, 0)
    model = unfilled(config)
    assert isinstance(model, CAVMAE)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
    optimizer = build_optimizer(model, params)
    (group,) = optimizer.param_groups
    assert sum(parameter.numel() for parameter in group["params"]) == TRAINABLE
    check_rates(params, optimizer)

    objective = Pretraining(model, config, data, params)
    order = objective.order(1)
    assert sorted(order) == list(range(8))
    batch = objective.build(order[:2].tolist(), 1)
    assert batch.noise_a is not None and batch.noise_v is not None
    inputs = model_inputs(objective.front_end, batch, CPU, audio=True, images=True)
    assert inputs.audio is not None and inputs.images is not None
    assert inputs.audio.shape == (2, 1024, 128) and inputs.images.shape == (2, 3, 224, 224)
    assert batch.noise_a.shape == (2, 512) and batch.noise_v.shape == (2, 196)
    kept = mask_from_noise(batch.noise_a, params.mask_ratio_a, params.official_ties).ids_keep
    assert kept.shape == (2, len_keep(512, params.mask_ratio_a))
    rows, columns = {int(i) // 64 for i in kept[0]}, {int(i) % 64 for i in kept[0]}
    if params.mask_mode == "time":
        assert len(columns) == 16 and len(rows) == 8
    if params.mask_mode == "freq":
        assert len(rows) == 2 and len(columns) == 64
    if params.mask_mode == "tf":
        struck = batch.noise_a[0][batch.noise_a[0] > 1]
        assert len(struck) > 512 - len(kept[0]) and struck.tolist() == pytest.approx([1.1] * len(struck))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("finetune-")])
def test_fine_tuning_is_ready_for_its_first_step(name: str) -> None:
    recipe = recipe_of(name)
    data = published_like(recipe)
    params = params_of(recipe, "finetune")
    config = classifier(config_of(data, recipe), data, params.mode, params.loss == "ce")
    model = unfilled(config)
    assert isinstance(model, CAVMAEFT)
    head = 768 * 2 + len(data.labels) * 769
    assert sum(parameter.numel() for parameter in model.parameters()) == HEADLESS + head
    optimizer = build_optimizer(model, params, params.head_lr)
    sizes = {group["lr_factor"]: sum(parameter.numel() for parameter in group["params"]) for group in optimizer.param_groups}
    assert sizes == {1.0: HEADLESS, params.head_lr: head}
    check_rates(params, optimizer)

    objective = Finetuning(model, config, data, params)
    assert len(objective.train.clips) == 8 and len(objective.val_clips) == 4 // params.batch_size * params.batch_size
    if params.balanced_sampling:
        published = {clip.video_id: clip.weight for clip in data.split("train")}
        assert objective.weights is not None and sorted(objective.weights) == [1 + i / 2 for i in range(8)]
        assert [published[clip.video_id] for clip in objective.train.clips] == objective.weights.tolist()
    else:
        assert objective.weights is None and sorted(objective.order(1)) == list(range(8))
    batch = objective.build(objective.order(1)[:2].tolist(), 1)
    inputs = objective._inputs(batch, CPU)
    shapes = {"multimodal": (True, True), "audioonly": (True, False), "videoonly": (False, True)}[params.mode]
    assert (inputs.audio is not None, inputs.images is not None) == shapes
    assert inputs.audio is None or inputs.audio.shape == (2, 1024, 128)
    assert inputs.images is None or inputs.images.shape == (2, 3, 224, 224)
    assert batch.targets is not None and batch.targets.shape == (2, len(data.labels))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("retrieve-")])
def test_retrieval_is_ready_for_its_first_batch(name: str) -> None:
    recipe = recipe_of(name)
    data = published_like(recipe)
    params = params_of(recipe, "retrieve")
    clips = data.split(params.split)
    assert len(clips) == 8 and {len(found) for split, found in data.splits.items() if split != "train"} == {0}
    config = config_of(data, recipe)
    assert config.clip.frames == 10 and config.architecture.embed_dim == 768
    audio, video = embed_clips(unfilled(config), config, clips[:2], 2, CPU, frames=params.frames)
    assert audio.shape == video.shape == (2, 768)


def test_padding_is_normalised_by_the_published_statistics_and_the_clip_is_not_it() -> None:
    recipe = recipe_of("finetune-as2m")
    data = published_like(recipe)
    config = config_of(data, recipe)
    params = params_of(recipe, "finetune", "noise=false", "roll=0", "freq_mask=0", "time_mask=0", "mixup=0")
    labelled = classifier(config, data, "multimodal", False)
    objective = Finetuning(unfilled(labelled), labelled, data, params)  # type: ignore[arg-type]
    audio = objective._inputs(objective.build([0], 1), CPU).audio
    assert audio is not None
    frames = round(SECONDS * 100) - 2
    # literal 0 before normalisation: (0 + 5.081) / 4.4849
    assert torch.allclose(audio[0, frames + 8 :], torch.tensor(1.13291), atol=1e-4)
    assert not np.allclose(audio[0, : frames - 8].numpy(), 1.13291, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretrain-base", "finetune-as20k"])
def test_a_first_step_at_full_size_changes_the_weights(name: str) -> None:
    recipe = recipe_of(name)
    data = published_like(recipe)
    config = config_of(data, recipe)
    torch.manual_seed(0)
    slim = ["device=cpu", "precision=float32", "batch_size=2"]
    objective: Any
    if name.startswith("pretrain"):
        params = params_of(recipe, "pretrain", *slim, "replicas=1")
        objective = Pretraining(config.build(), config, data, params)  # type: ignore[arg-type]
        optimizer = build_optimizer(objective.model, params)
    else:
        params = params_of(recipe, "finetune", *slim)
        config = classifier(config, data, params.mode, single=False)
        objective = Finetuning(config.build(), config, data, params)  # type: ignore[arg-type]
        optimizer = build_optimizer(objective.model, params, params.head_lr)
    watched = objective.model.blocks_u[0].attn.qkv.weight
    before = watched.detach().clone()
    loss, _ = objective.loss(objective.build([0, 1], 1), CPU)
    loss.backward()
    optimizer.step()
    assert math.isfinite(loss.item())
    change = (watched.detach() - before).abs()
    # Adam's first step is the learning rate, whatever the gradient
    assert change.max().item() == pytest.approx(params.lr, rel=1e-2) and change.mean().item() > 0.9 * params.lr
