"""Scores of clips: from one frame or all, whatever the batch, and vectors for retrieval."""

from collections import Counter

import numpy as np
import pytest
import torch

from cavmae.dataset.loader import ClipRecord, ClipSet
from cavmae.evaluation import clip_batches, embedding
from cavmae.evaluation.clip_batches import collate, read_inputs, slices
from cavmae.evaluation.inference import Precision, embed_clips, predict_clips, predict_modes, score_batch, score_frames
from cavmae.features.front_end import FrontEnd
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


def test_one_pass_gives_what_plain_passes_of_every_mode_and_frame_give(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord]
) -> None:
    config, model = loaded
    found = predict_modes(model, config, clips, MODES, "all", 3, CPU)
    raw, images = collate(config, [read_inputs(config, clip.members(), "all") for clip in clips])
    audio = FrontEnd(config.fbank, config.normalisation.mean, config.normalisation.std).audio(raw)
    for mode in MODES:
        with torch.no_grad():
            plain = torch.stack([model(audio, normalise_images(images[:, n]), mode).softmax(-1) for n in range(4)])
        np.testing.assert_allclose(found[mode].mean, plain.mean(dim=0).numpy(), atol=1e-6, err_msg=mode)
        np.testing.assert_allclose(found[mode].middle, plain[2].numpy(), atol=1e-6, err_msg=mode)


def test_every_clip_is_decoded_and_streamed_once_for_all_frames_and_modes(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, model = loaded
    counts: Counter[str] = Counter()

    def count(name: str, rows: int = 1) -> None:
        counts[name] += rows

    for name in ("decode_waveform", "decode_frame"):
        plain = getattr(clip_batches, name)
        monkeypatch.setattr(clip_batches, name, lambda *words, plain=plain, name=name: (count(name), plain(*words))[1])
    plain_mel = FrontEnd.audio
    monkeypatch.setattr(FrontEnd, "audio", lambda self, raw: (count("log_mel", len(raw.lengths)), plain_mel(self, raw))[1])
    streams = {"audio": model.blocks_a[0], "video": model.blocks_v[0], "shared": model.blocks_u[0]}
    hooks = [
        block.register_forward_hook(lambda module, args, out, name=name: count(name, len(out))) for name, block in streams.items()
    ]
    wanted = {"decode_waveform": 8, "decode_frame": 32, "log_mel": 8, "audio": 8, "video": 32}
    try:
        predict_modes(model, config, clips, ("multimodal", "missingaudioonly", "missingvideoonly"), "all", 3, CPU)
        # both for every frame; sound alone twice a clip and pictures alone twice a frame, as the published modes ask
        assert dict(counts) == wanted | {"shared": 32 + 2 * 8 + 2 * 32}
        counts.clear()
        predict_modes(model, config, clips, ("audioonly", "missingaudioonly"), "all", 3, CPU)
        assert dict(counts) == {"decode_waveform": 8, "log_mel": 8, "audio": 8, "shared": 3 * 8}, "nobody looks at a picture"
        counts.clear()
        embed_clips(model, config, clips, 3, CPU, "all")
        assert dict(counts) == wanted | {"shared": 8 + 32}
    finally:
        for hook in hooks:
            hook.remove()


def test_pictures_of_large_batches_are_run_a_few_at_a_time(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, model = loaded
    together = predict_clips(model, config, clips, "multimodal", "all", 8, CPU)
    vectors = embed_clips(model, config, clips, 8, CPU, "all")
    monkeypatch.setattr(embedding, "_PICTURES_AT_ONCE", 9)
    largest: list[int] = []
    hook = model.blocks_v[0].register_forward_hook(lambda module, args, out: largest.append(len(out)))
    try:
        apart = predict_clips(model, config, clips, "multimodal", "all", 8, CPU)
        found = embed_clips(model, config, clips, 8, CPU, "all")
    finally:
        hook.remove()
    assert largest == [8] * 8
    np.testing.assert_allclose(apart, together, atol=1e-6)
    for one, other in zip(found, vectors, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_bf16_moves_scores_and_vectors_a_little(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], mode: Mode
) -> None:
    config, model = loaded
    plain, half = (predict_clips(model, config, clips, mode, "all", 8, CPU, precision) for precision in ("float32", "bf16"))
    assert half.dtype == np.float32 and 0 < np.abs(half - plain).max() < 0.02
    vectors, halves = (embed_clips(model, config, clips, 8, CPU, "all", precision) for precision in ("float32", "bf16"))
    for one, other in zip(vectors, halves, strict=True):
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        assert other.dtype == np.float32 and cosine.min() > 0.999 and np.abs(one - other).max() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_gives_the_scores_of_a_cpu(
    loaded: tuple[ModelConfig, CAVMAEFT], clips: list[ClipRecord], precision: Precision
) -> None:
    config, _ = loaded
    gpu = torch.device("cuda")
    _, model = read_model(tiny().classifier())
    assert isinstance(model, CAVMAEFT)
    want = predict_modes(model, config, clips, MODES, "all", 3, CPU)
    found = predict_modes(model.to(gpu), config, clips, MODES, "all", 3, gpu, precision)
    for mode in MODES:
        np.testing.assert_allclose(found[mode].mean, want[mode].mean, atol=1e-4 if precision == "float32" else 0.02)


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
