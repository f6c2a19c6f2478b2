"""Scores of clips: from one frame or all, whatever the batch, and vectors for retrieval."""

import numpy as np
import pytest
import torch

from cavmae.dataset.loader import ClipRecord, ClipSet
from cavmae.evaluation.inference import collate, embed_clips, predict_clips, read_inputs, score_batch, score_frames, slices
from cavmae.features.images import normalise_images
from cavmae.models.cavmaeft import CAVMAEFT, MODES, Mode
from cavmae.models.folder import ModelConfig, read_model
from tests.training.tiny import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips() -> list[ClipRecord]:
    return ClipSet(tiny().dataset).split("test")


@pytest.fixture(scope="module")
def loaded() -> tuple[ModelConfig, CAVMAEFT]:
    config, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)
    return config, model


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_probabilities_and_do_not_depend_on_the_batch(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], mode: Mode
) -> None:
    config, model = loaded
    whole = predict_clips(model, config, clips, mode, "all", 8, CPU)
    assert whole.shape == (8, 8) and np.allclose(whole.sum(1), 1, atol=1e-5)
    # kernels for other batch sizes round otherwise
    np.testing.assert_allclose(predict_clips(model, config, clips, mode, "all", 3, CPU), whole, atol=1e-6)


def test_all_frames_are_averaged_and_sound_alone_sees_none(loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord]) -> None:
    config, model = loaded
    middle = predict_clips(model, config, clips, "multimodal", "middle", 8, CPU)
    assert np.abs(middle - predict_clips(model, config, clips, "multimodal", "all", 8, CPU)).max() > 1e-4
    sound = predict_clips(model, config, clips, "audioonly", "middle", 8, CPU)
    np.testing.assert_array_equal(sound, predict_clips(model, config, clips, "audioonly", "all", 8, CPU))


def test_several_labels_a_clip_give_independent_probabilities(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord]
) -> None:
    config, model = loaded
    scores = predict_clips(model, config.model_copy(update={"single_label": False}), clips, "multimodal", "all", 8, CPU)
    assert ((scores > 0) & (scores < 1)).all() and np.abs(scores.sum(1) - 1).max() > 0.5


def test_frame_logits_equal_one_pass_a_frame(loaded: tuple[ModelConfig, CAVMAEFT]) -> None:
    _, model = loaded
    audio, frames = torch.randn(2, 96, 32), torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        together = model.frame_logits(audio, frames, 3, "multimodal")
        one_by_one = model(audio.repeat_interleave(3, dim=0), frames, "multimodal")
    torch.testing.assert_close(together, one_by_one, atol=1e-6, rtol=1e-5)


def test_both_kinds_of_model_give_vectors_for_retrieval(clips: list[ClipRecord]) -> None:
    for folder in (tiny().pretrained, tiny().classifier()):
        config, model = read_model(folder)
        audio, video = embed_clips(model, config, clips, 3, CPU)
        assert audio.shape == video.shape == (8, 32) and np.isfinite(audio).all() and np.isfinite(video).all()
        assert np.abs(audio - audio[:1]).max() > 0


def test_vectors_of_all_frames_are_the_mean_over_frames(clips: list[ClipRecord]) -> None:
    config, model = read_model(tiny().pretrained)
    audio, video = embed_clips(model, config, clips, 3, CPU, "all")
    sound, middle = embed_clips(model, config, clips, 8, CPU)
    np.testing.assert_allclose(audio, sound, atol=1e-6)
    _, images = collate(config, [read_inputs(config, clip.members(), "all") for clip in clips])
    with torch.no_grad():
        each = [model.shared(model.stream_v(model.embed_v(normalise_images(images[:, n]))), "v").mean(dim=1) for n in range(4)]
    np.testing.assert_allclose(video, torch.stack(each).mean(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(middle, each[2].numpy(), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_scores_of_frames_have_the_clips_scores_as_their_mean(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], mode: Mode
) -> None:
    config, model = loaded
    raw, images = collate(config, [read_inputs(config, clip.members(), "all") for clip in clips])
    each = score_frames(model, config, raw, images, mode)
    assert each.shape == (8, 1 if "audio" in mode else 4, 8)
    torch.testing.assert_close(each.mean(dim=1), score_batch(model, config, raw, images, mode))
    if "audio" not in mode:
        alone = score_batch(model, config, raw, images[:, 1:2], mode)
        torch.testing.assert_close(each[:, 1], alone, atol=1e-6, rtol=1e-5)


def test_slices_cover_everything_once() -> None:
    assert [list(part) for part in slices(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]] and slices(0, 3) == []
