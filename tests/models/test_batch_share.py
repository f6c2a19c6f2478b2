"""A batch cut among processes: losses and gradients of the shares add up to those of the batch, in float64."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cavmae.models.batch_share import BatchShare
from cavmae.models.cavmae import CAVMAE, PretrainOutput

BATCH = 7


def model() -> CAVMAE:
    torch.manual_seed(0)
    sizes = {"img_size": 16, "audio_length": 32, "num_mel_bins": 16, "patch_size": 8, "embed_dim": 16, "depth": 3}
    decoder = {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    return CAVMAE(**sizes, **decoder, modality_specific_depth=1, num_heads=2, mlp_ratio=2.0).double()


def inputs(count: int = BATCH) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"audio": (32, 16), "imgs": (3, 16, 16), "noise_a": (8,), "noise_v": (4,)}
    return {name: torch.rand(count, *shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


def gradients(network: CAVMAE, output: PretrainOutput) -> dict[str, Tensor]:
    network.zero_grad()
    output.loss.backward()
    return {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}


def gather_among(start: int, stop: int, whole: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """What the collective does: the own rows with their gradient, those of the others without."""
    ready = iter(whole)

    def gather(rows: Tensor) -> Tensor:
        everyone = next(ready)
        assert torch.allclose(rows, everyone[start:stop])
        return torch.cat([everyone[:start], rows, everyone[stop:]])

    return gather


@pytest.mark.parametrize("cuts", [[0, 7], [0, 4, 7], [0, 3, 5, 7], [0, 1, 2, 7]])
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_losses_and_gradients_of_the_shares_add_up_to_those_of_the_batch(cuts: list[int], replicas: int) -> None:
    network, batch = model(), inputs()
    settings = {"contrast_loss_weight": 0.7, "bidirect_contrast": True, "replicas": replicas}
    want = network(**batch, **settings)
    expected = gradients(network, want)
    encoded = network.forward_encoder(
        batch["audio"], batch["imgs"], 0.75, 0.75, "unstructured", batch["noise_a"], batch["noise_v"]
    )
    pooled = [tokens.mean(dim=1).detach() for tokens in (encoded.latent_c_a, encoded.latent_c_v)]
    outputs, found = [], dict.fromkeys(expected, torch.zeros(()))
    for start, stop in itertools.pairwise(cuts):
        share = BatchShare(start, stop, BATCH, gather_among(start, stop, pooled))
        outputs.append(network(**{name: value[start:stop] for name, value in batch.items()}, **settings, share=share))
        found = {name: found[name] + part for name, part in gradients(network, outputs[-1]).items()}
    for part in ("loss_mae", "loss_mae_a", "loss_mae_v"):
        torch.testing.assert_close(sum(getattr(output, part) for output in outputs), getattr(want, part), rtol=1e-12, atol=0)
    for output in outputs:
        torch.testing.assert_close((output.loss_c, output.c_acc), (want.loss_c, want.c_acc), rtol=1e-12, atol=0)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-14, msg=name)


@pytest.mark.parametrize("whole", range(1, 12))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_parts_are_those_of_chunk_and_every_part_is_covered(whole: int, count: int) -> None:
    sizes = [len(part) for part in torch.arange(whole).chunk(count)]
    assert BatchShare.alone(whole).parts(count) == [(size, 1.0) for size in sizes]
    for middle in range(whole + 1):
        cut = [BatchShare(start, stop, whole, lambda rows: rows) for start, stop in ((0, middle), (middle, whole))]
        assert [sum(own for own, _ in share.parts(count)) for share in cut] == [middle, whole - middle]
        assert sum(part for share in cut for _, part in share.parts(count)) == pytest.approx(len(sizes))
        assert sum(share.weight for share in cut) == pytest.approx(1.0)
