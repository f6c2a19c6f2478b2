"""The recipes that come with the library: each can be used, its commands fit together, its settings are the published ones."""

import json
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cavmae import cli, steps
from cavmae.evaluation import evaluator
from cavmae.evaluation.metrics import MACRO
from cavmae.evaluation.retrieval import retrieve
from cavmae.params import load_section
from cavmae.recipe import Recipe
from cavmae.recipe_pages import recipe_page
from cavmae.recipes import read_recipe, recipe_files
from cavmae.training import pretraining as objective
from cavmae.training.optimizer import learning_rate
from cavmae.training.params import AverageParams, FinetuneParams, PretrainParams
from tests.training.tiny import PARAMS, REPOSITORY

FILES = dict(sorted((path.stem, path) for path in (REPOSITORY / "recipes").glob("*.yaml")))
RECIPES = {name: read_recipe(str(path)) for name, path in FILES.items()}
ALL = [pytest.param(recipe, id=name) for name, recipe in RECIPES.items()]
PRETRAINING = [pytest.param(recipe, id=name) for name, recipe in RECIPES.items() if name.startswith("pretrain-")]
FINETUNING = [pytest.param(recipe, id=name) for name, recipe in RECIPES.items() if name.startswith("finetune-")]
# what the scripts and logs of the original say: batch, learning rate, epochs, epochs at the full rate, epochs to a decay
PRETRAINED = {
    "pretrain-base": (48, 5e-5, 25, 10, 5),
    "pretrain-scale+": (108, 1e-4, 25, 10, 5),
    "pretrain-scale+-120": (120, 1e-4, 25, 10, 5),
    "pretrain-scale+-symmetric": (120, 1e-4, 25, 10, 5),
    "pretrain-scale++": (256, 2e-4, 25, 10, 5),
    "pretrain-vggsound": (120, 1e-4, 25, 10, 5),
    "pretrain-vggsound-continued": (120, 5e-5, 10, 10, 5),
}
# batch, learning rate, epochs, epochs at the full rate, head, balanced, loss, first and last averaged epoch
FINETUNED = {
    "finetune-as2m": (48, 1e-5, 10, 2, 50.0, True, "bce", 1, 10),
    "finetune-as20k": (36, 5e-5, 15, 5, 100.0, False, "bce", 3, 15),
    "finetune-vggsound": (48, 1e-4, 10, 2, 10.0, True, "ce", 3, 10),
}
GOLDEN_RATES = {
    "as_pretrain_base": "pretrain-base",
    "as_pretrain_scale++": "pretrain-scale++",
    "as20k_ft": "finetune-as20k",
    "as2m_ft": "finetune-as2m",
    "vgg_ft": "finetune-vggsound",
}
# files of the pretrained-model zoo that none but their own recipe makes
ZOO = {
    "audio_model.21.pth",
    "audio_model.25.pth",
    "cav-mae-base.pth",
    "cav-mae-base-nonorm.pth",
    "50.pth",
    "65.pth",
    "85.pth",
    "time_freq_75.pth",
    "time_freq_50.pth",
    "time_75.pth",
    "freq_75.pth",
    "cav-mae-base-c0.001.pth",
    "cav-mae-base-c0.1.pth",
    "single_direction.pth",
    "symc.pth",
    "as-full-51.2.pth",
    "as-20k-42.0.pth",
    "vgg_65.5.pth",
    "vgg_66.0.pth",
    "as_46.6.pth",
    "as_37.7.pth",
    "as_20.0.pth",
    "vgg_59.8.pth",
}


def pretraining(recipe: Recipe) -> PretrainParams:
    return load_section(PretrainParams, "pretrain", PARAMS, overlay=recipe.overlay("pretrain"))


def finetuning(recipe: Recipe) -> FinetuneParams:
    return load_section(FinetuneParams, "finetune", PARAMS, overlay=recipe.overlay("finetune"))


def averaging(recipe: Recipe) -> AverageParams:
    return load_section(AverageParams, "average", PARAMS, overlay=recipe.overlay("average"))


def parsed(command: str) -> Namespace:
    """What the command line makes of a command."""
    words = shlex.split(command)
    assert words[0] == "cavmae", command
    return cli._parser(words[1], PARAMS).parse_args(words[1:])


@pytest.mark.parametrize("recipe", ALL)
def test_every_value_is_one_that_its_step_takes_and_the_page_shows_all(recipe: Recipe) -> None:
    recipe.check(PARAMS)
    page = recipe_page(recipe, PARAMS)
    assert all(command in page for command in [*recipe.commands, *recipe.shortcut])
    assert "{" not in page, "all words in braces are filled in"


@pytest.mark.parametrize("recipe", ALL)
def test_what_a_recipe_refers_to_is_there(recipe: Recipe) -> None:
    assert recipe.start is not None
    for name in [*recipe.checked_by, *([recipe.start.recipe] if recipe.start.recipe else [])]:
        assert name in RECIPES
    for name in recipe.checked_by:
        start = RECIPES[name].start
        assert start is not None and start.recipe == recipe.name
    if recipe.start.recipe and recipe.start.checkpoint:
        assert RECIPES[recipe.start.recipe].released == recipe.start.checkpoint
    used = {command.split()[1] for command in recipe.commands}
    inherited = {"adapt"} if recipe.extends else set()
    inherited |= {"statistics"}  # for whoever wants to check the published mean and deviation
    assert set(recipe.params) - inherited <= used, "every section is used by a command"
    lists = {Path(value).name for key, value in recipe.params["ingest"].items() if str(value).startswith("lists/")}
    assert lists == {item.file for item in recipe.data}


def outputs_and_inputs(command: str) -> tuple[set[str], set[str]]:
    """Folders and files that a command writes, and those that it reads and an earlier one must have written."""
    options = parsed(command)
    step = steps.load(options.step)

    def paths(artifacts: Any) -> set[str]:
        given = {artifact.name: getattr(options, artifact.name) for artifact in artifacts if not artifact.positional}
        assert all(given.values()), f"{command}: a path is left to its default"
        return {value for value in given.values() if value != "none"}

    return paths(step.outputs), paths(step.inputs)


@pytest.mark.parametrize("recipe", ALL)
def test_commands_parse_name_their_recipe_and_read_what_was_written_before(recipe: Recipe) -> None:
    assert recipe.start is not None
    for commands in (recipe.commands, recipe.shortcut):
        written = {f"models/{recipe.start.recipe}"}
        for command in commands:
            step = command.split()[1]
            if step == "results":
                assert command == f"cavmae results --recipe {recipe.name}"
                assert commands[-1] == command and {result.file for result in recipe.results} <= written
            elif step == "import":
                written.add(shlex.split(command)[shlex.split(command).index("--out") + 1])
            else:
                outputs, inputs = outputs_and_inputs(command)
                assert inputs <= written, f"{command}: reads {inputs - written}"
                written |= outputs
            if step != "import":
                assert f"--recipe {recipe.name}" in command
            elif step in steps.NAMES:
                parsed(command)


def test_recipes_that_share_a_data_set_make_it_alike() -> None:
    folders: dict[str, dict[str, Any]] = {}
    for recipe in RECIPES.values():
        (folder,) = {parsed(command).out for command in recipe.commands if command.startswith("cavmae ingest")}
        sections = {name: recipe.params.get(name) for name in ("ingest", "extract", "validate")}
        assert folders.setdefault(folder, sections) == sections, f"{recipe.name} makes another {folder}"
    assert len(folders) == 5


def test_recipes_that_make_the_same_model_are_one_and_every_other_output_is_of_its_own() -> None:
    makers: dict[str, str] = {}
    for recipe in RECIPES.values():
        for command in recipe.commands:
            if command.split()[1] not in ("ingest", "extract", "validate", "adapt", "import", "results"):
                for path in outputs_and_inputs(command)[0]:
                    assert makers.setdefault(path, recipe.name) == recipe.name, f"{path} is written by two recipes"


@pytest.mark.parametrize("recipe", PRETRAINING)
def test_pretraining_has_the_published_settings(recipe: Recipe) -> None:
    params = pretraining(recipe)
    batch, lr, epochs, start, every = PRETRAINED.get(recipe.name, PRETRAINED["pretrain-base"])
    assert (params.batch_size, params.lr, params.epochs) == (batch, lr, epochs)
    assert (params.schedule, params.decay_start_epoch, params.decay_every_epochs, params.decay_factor) == (
        "step",
        start,
        every,
        0.5,
    )
    assert (params.optimizer, params.beta1, params.beta2, params.weight_decay) == ("adam", 0.95, 0.999, 5e-7)
    assert (params.warmup_epochs, params.clip_grad_norm, params.noise, params.roll) == (0, None, True, 1024)
    assert (params.replicas, params.drop_last, params.fixed_validation) == (4, True, False)
    assert params.batch_size % params.replicas == 0
    changed = {
        "pretrain-scale+-symmetric": {"bidirect_contrast": True},
        "pretrain-base-nonorm": {"norm_pix_loss": False},
        "pretrain-base-mask-50": {"mask_ratio_a": 0.5, "mask_ratio_v": 0.5},
        "pretrain-base-mask-65": {"mask_ratio_a": 0.65, "mask_ratio_v": 0.65},
        "pretrain-base-mask-85": {"mask_ratio_a": 0.85, "mask_ratio_v": 0.85},
        "pretrain-base-time-75": {"mask_mode": "time"},
        "pretrain-base-freq-75": {"mask_mode": "freq"},
        "pretrain-base-tf-75": {"mask_mode": "tf", "official_ties": True},
        "pretrain-base-tf-50": {"mask_mode": "tf", "official_ties": True, "mask_ratio_a": 0.5, "mask_ratio_v": 0.5},
        "pretrain-base-contrast-0.001": {"contrast_loss_weight": 0.001},
        "pretrain-base-contrast-0.1": {"contrast_loss_weight": 0.1},
    }
    published = {
        "mask_ratio_a": 0.75,
        "mask_ratio_v": 0.75,
        "mask_mode": "unstructured",
        "mae_loss_weight": 1.0,
        "contrast_loss_weight": 0.01,
        "bidirect_contrast": False,
        "norm_pix_loss": True,
        "official_ties": False,
    }
    wanted = published | changed.get(recipe.name, {})
    assert {key: getattr(params, key) for key in wanted} == wanted
    assert recipe.name in changed or recipe.name in PRETRAINED


@pytest.mark.parametrize("recipe", FINETUNING)
def test_fine_tuning_has_the_published_settings(recipe: Recipe) -> None:
    params, average = finetuning(recipe), averaging(recipe)
    batch, lr, epochs, start, head, balanced, loss, first, last = next(
        settings for name, settings in FINETUNED.items() if recipe.name.startswith(name)
    )
    assert (params.batch_size, params.lr, params.epochs, params.head_lr) == (batch, lr, epochs, head)
    assert (params.schedule, params.decay_start_epoch, params.decay_every_epochs, params.decay_factor) == ("step", start, 1, 0.5)
    assert (params.optimizer, params.beta1, params.beta2, params.weight_decay) == ("adam", 0.95, 0.999, 5e-7)
    assert (params.warmup_epochs, params.clip_grad_norm, params.noise, params.roll) == (0, None, True, 1024)
    assert (params.mixup, params.freq_mask, params.time_mask, params.label_smoothing) == (0.5, 48, 192, 0.1)
    assert (params.balanced_sampling, params.loss, params.drop_last, params.official_smoothing) == (balanced, loss, True, True)
    assert not params.freeze_base and not params.from_scratch and params.label_fraction == 1
    assert (average.by, average.first_epoch, average.last_epoch) == ("range", first, last)
    assert params.epochs - params.keep_epochs < first, "the epochs to be averaged are kept"
    assert bool(recipe.params["ingest"]["weights_csv"]) or not params.balanced_sampling
    assert recipe.params["evaluate"] == {"split": "val", "official_metrics": True, "device": "cuda"}
    if recipe.released:
        (taken,) = (command for command in recipe.shortcut if command.startswith("cavmae import"))
        assert taken.endswith(f" --labels-csv {recipe.params['ingest']['labels_csv']} --mode {params.mode}")
    (metric,) = {result.metric for result in recipe.results}
    mode = {"multimodal": "multimodal", "audioonly": "audio", "videoonly": "video"}[params.mode]
    assert metric == f"val.{mode}.{'accuracy' if params.loss == 'ce' else 'mAP'}"
    (evaluate,) = (parsed(command) for command in recipe.commands if command.startswith("cavmae evaluate"))
    models = {"multimodal": evaluate.model, "audio": evaluate.audio_model, "video": evaluate.video_model}
    assert {name for name, path in models.items() if path != "none"} == {mode}


@pytest.mark.parametrize("recipe", ALL)
def test_clips_and_front_end_are_the_published_ones(recipe: Recipe) -> None:
    extract = recipe.params["extract"]
    assert (extract["frames"], extract["frame_size"], extract["frame_index"], extract["jpeg_quality"]) == (
        10,
        224,
        "official",
        75,
    )
    assert extract["sample_rate"] == 16000
    assert recipe.params["ingest"]["val_share"] == recipe.params["ingest"]["test_share"] == 0
    if "adapt" in recipe.params:
        assert (recipe.params["adapt"]["mean"], recipe.params["adapt"]["std"]) == (-5.081, 4.4849)


def test_the_rate_of_every_epoch_is_that_of_the_original(golden: Path) -> None:
    rates = json.loads((golden / "recipes.json").read_text())["lr_used_in_epoch_1_2_3"]
    assert len(rates) == len(GOLDEN_RATES)
    for title, expected in rates.items():
        recipe = RECIPES[GOLDEN_RATES[title.split(" ")[0]]]
        params = pretraining(recipe) if recipe.name.startswith("pretrain") else finetuning(recipe)
        steps_per_epoch = 7
        used = [learning_rate(params, epoch * steps_per_epoch + 3, steps_per_epoch) for epoch in range(params.epochs)]
        assert used == pytest.approx(expected, rel=1e-12), title


def test_the_log_of_base_pretraining_gives_the_numbers_of_its_recipe(golden: Path) -> None:
    log = json.loads((golden / "recipes.json").read_text())["official_log_reference"]["as2m_pretrain_base.txt"]
    names = {"mae_a": "loss_mae_a", "mae_v": "loss_mae_v", "contrast": "loss_c", "loss": "total", "contrast_accuracy": "c_acc"}
    recipe = RECIPES["pretrain-base"]
    assert {result.metric: result.value for result in recipe.results} == {
        f"val_{ours}": log["epoch25_eval"][theirs] for ours, theirs in names.items()
    }
    assert recipe.data[0].clips is not None
    assert recipe.data[0].clips // pretraining(recipe).batch_size == log["steps_per_epoch"]
    assert pretraining(recipe).batch_size == log["batch"] and pretraining(recipe).replicas == log["gpus"]


@pytest.mark.parametrize("recipe", ALL)
def test_a_number_is_called_what_it_is_called_where_it_is_written(recipe: Recipe) -> None:
    for result in recipe.results:
        if result.file.endswith(".tsv"):
            assert result.metric in {"val_loss", *(f"val_{meter}" for meter in objective._METERS)}
            continue
        split, name, *rest = result.metric.split(".")
        assert split == next(recipe.params[step]["split"] for step in ("evaluate", "retrieve") if step in recipe.params)
        if name == "retrieval":
            written = retrieve(np.eye(3), np.eye(3))
            assert isinstance(written[rest[0]][rest[1]], float)
        else:
            assert name in evaluator._NAMES.values() and rest[0] in MACRO


def test_every_published_checkpoint_belongs_to_one_recipe() -> None:
    released = [recipe.released for recipe in RECIPES.values() if recipe.released]
    assert len(released) == len(set(released)) and set(released) == ZOO


def test_a_number_is_given_only_with_its_source_and_a_missing_one_with_its_reason() -> None:
    for recipe in RECIPES.values():
        for result in recipe.results:
            if result.value is None:
                assert "published" in result.why
        assert all(any(where in text for where in ("egs/", "README.md", "src/", "paper")) for text in recipe.source)


def test_the_listing_shows_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert set(recipe_files()) == set(RECIPES) and len(RECIPES) == 38
