"""Where the model departs from the original on purpose: the right way is the default, a flag gives the original's."""

import random

import pytest
import torch

from cavmae.models import CAVMAE
from cavmae.models.masking import MASK_MODES, MaskMode, len_keep, mask_from_noise, strike

ROWS, COLUMNS = 8, 64  # the original's grid of 128 mel bands by 1024 frames


def small(**changes: object) -> CAVMAE:
    torch.manual_seed(0)
    sizes = {"img_size": 32, "audio_length": 64, "num_mel_bins": 32, "embed_dim": 16, "num_heads": 2, "depth": 3}
    sizes |= {"modality_specific_depth": 2, "decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    return CAVMAE(**{**sizes, **changes}).eval()  # type: ignore[arg-type]


def struck_noise(official_ties: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise [6, 512] under a `tf` mask, and which tokens are struck."""
    noise = torch.rand(6, ROWS * COLUMNS, generator=torch.Generator().manual_seed(1))
    raised = strike(noise, "tf", 0.75, ROWS, COLUMNS, random.Random(2), official_ties)
    return raised, raised != noise


def test_tf_masks_keep_four_struck_tokens_as_the_original_does() -> None:
    # 33 of 64 columns and 4 of 8 rows are struck, which leaves 31 * 4 = 124 tokens where 128 are kept
    for official_ties in (False, True):
        noise, struck = struck_noise(official_ties)
        kept = mask_from_noise(noise, 0.75, official_ties).mask == 0
        assert (~struck).sum(1).tolist() == [124] * 6 and kept.sum(1).tolist() == [128] * 6
        assert (kept & struck).sum(1).tolist() == [4] * 6


def test_who_they_are_is_drawn_by_lot_and_with_official_ties_left_to_the_sort() -> None:
    official, struck = struck_noise(official_ties=True)
    assert torch.unique(official[struck]).tolist() == pytest.approx([1.1])
    assert torch.equal(mask_from_noise(official, 0.75, official_ties=True).ids_keep, torch.argsort(official, dim=1)[:, :128])
    ours, struck = struck_noise(official_ties=False)
    assert all(len(torch.unique(row[mask])) == mask.sum() for row, mask in zip(ours, struck, strict=True)), "no ties"
    wanted = [
        sorted(row.masked_fill(~mask, 9.0).topk(4, largest=False).indices.tolist())
        for row, mask in zip(ours, struck, strict=True)
    ]
    kept = (mask_from_noise(ours, 0.75).mask == 0) & struck
    assert [row.nonzero().flatten().tolist() for row in kept] == wanted


@pytest.mark.parametrize("mode", MASK_MODES)
def test_the_models_flag_reaches_masks_that_the_model_draws(mode: MaskMode) -> None:
    audio, imgs = torch.randn(3, 64, 32), torch.randn(3, 3, 32, 32)
    for flag in (False, True):
        model = small(official_ties=flag)
        torch.manual_seed(5)
        random.seed(5)
        got = model(audio, imgs, mask_mode=mode).mask_a
        torch.manual_seed(5)
        random.seed(5)
        noise = torch.rand(3, 8)
        struck = strike(noise, mode, 0.75, 2, 4, random, flag)  # type: ignore[arg-type]
        assert torch.equal(got, mask_from_noise(struck, 0.75, flag).mask)
        assert (got == 0).sum(1).tolist() == [len_keep(8, 0.75)] * 3


def test_replicas_count_as_the_originals_gpus_do() -> None:
    model = small(norm_pix_loss=True)
    audio, imgs = torch.randn(8, 64, 32), torch.randn(8, 3, 32, 32)
    noise_a, noise_v = torch.rand(8, 8), torch.rand(8, 4)
    with torch.no_grad():
        whole = model(audio, imgs, noise_a=noise_a, noise_v=noise_v)
        split = model(audio, imgs, noise_a=noise_a, noise_v=noise_v, replicas=4)
        each = [
            model(audio[at : at + 2], imgs[at : at + 2], noise_a=noise_a[at : at + 2], noise_v=noise_v[at : at + 2])
            for at in range(0, 8, 2)
        ]
    for name in ("loss", "loss_mae", "loss_mae_a", "loss_mae_v", "loss_c"):
        assert getattr(split, name).item() == pytest.approx(sum(getattr(part, name).item() for part in each), rel=1e-5), name
    assert split.c_acc.item() == pytest.approx(sum(part.c_acc.item() for part in each) / 4)
    assert split.loss_mae.item() == pytest.approx(4 * whole.loss_mae.item(), rel=1e-5), "the sum of four means"
    assert whole.loss_c.item() > split.loss_c.item() / 4, "telling one of eight is harder than one of two"
    assert torch.equal(split.mask_a, whole.mask_a)


def test_a_batch_that_replicas_do_not_divide_is_cut_as_data_parallel_cuts_it() -> None:
    model = small()
    audio, imgs = torch.randn(5, 64, 32), torch.randn(5, 3, 32, 32)
    noise = {"noise_a": torch.rand(5, 8), "noise_v": torch.rand(5, 4)}
    with torch.no_grad():
        split = model(audio, imgs, **noise, replicas=4)  # 2 + 2 + 1, as torch.chunk has it
        parts = [slice(0, 2), slice(2, 4), slice(4, 5)]
        each = [model(audio[p], imgs[p], **{key: value[p] for key, value in noise.items()}) for p in parts]
    assert split.loss.item() == pytest.approx(sum(part.loss.item() for part in each), rel=1e-5)


def test_a_depth_without_a_shared_block_is_refused_where_the_original_dies() -> None:
    with pytest.raises(ValueError, match="modality_specific_depth 3 of depth 3 leaves no shared block; at most 2"):
        small(modality_specific_depth=3)
