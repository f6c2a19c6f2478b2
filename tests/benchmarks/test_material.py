"""Both sides of a training step draw the same numbers, whatever they are drawn in."""

import pytest
import torch
from torch import nn

from benchmarks.workers.material import MASK_RATIO, SIZES, TOKENS_A, TOKENS_V, batch, fill
from benchmarks.workers.official_step import given_noise


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    one, again, other = batch(0, 1, 2), batch(0, 1, 2), batch(0, 2, 2)
    assert [tuple(part.shape) for part in one] == [(2, 1024, 128), (2, 3, 224, 224), (2, TOKENS_A), (2, TOKENS_V)]
    assert all(torch.equal(left, right) for left, right in zip(one, again, strict=True))
    assert not any(torch.equal(left, right) for left, right in zip(one, other, strict=True))
    assert 0.5 < float(one.audio.std()) < 2 and 0.5 < float(one.images.std()) < 2


class Named(nn.Module):
    def __init__(self, backwards: bool, width: int = 4) -> None:
        super().__init__()
        parts = {"norm": nn.LayerNorm(width), "proj": nn.Linear(width, width), "pos_embed": nn.Embedding(2, width)}
        for name in reversed(parts) if backwards else parts:
            self.add_module(name, parts[name])


def test_weights_depend_on_names_and_not_on_what_came_before() -> None:
    one, other = Named(False), Named(True)
    kept = one.pos_embed.weight.clone()  # type: ignore[union-attr, operator]
    torch.randn(3)
    assert fill(one, 0) == fill(other, 0)
    assert torch.equal(one.proj.weight, other.proj.weight) and torch.equal(one.norm.bias, other.norm.bias)  # type: ignore[union-attr, arg-type]
    assert torch.equal(one.pos_embed.weight, kept)  # type: ignore[union-attr, arg-type]
    assert fill(Named(False, width=8), 0) != fill(one, 0)


def test_masks_are_given_once_and_other_draws_are_left_alone() -> None:
    noise = [torch.zeros(2, TOKENS_A), torch.ones(2, TOKENS_V)]
    rand = given_noise(noise)
    assert rand(3).shape == (3,)
    assert float(rand(2, TOKENS_A, device="cpu").max()) == 0
    assert float(rand(2, TOKENS_V).min()) == 1
    assert float(rand(2, TOKENS_A).max()) > 0 and not noise


@pytest.mark.parametrize("size", SIZES)
def test_both_sizes_have_as_many_tokens_as_the_noise(size: str) -> None:
    from cavmae.models.cavmae import CAVMAE

    with torch.device("meta"):
        model = CAVMAE(**SIZES[size])
    assert (model.num_patches_a, model.num_patches_v) == (TOKENS_A, TOKENS_V) and 0 < MASK_RATIO < 1
