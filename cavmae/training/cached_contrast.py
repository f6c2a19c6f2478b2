"""The contrast over a batch that does not fit into memory, by cached gradients (GradCache, Gao et al. 2021).

First the clips pass without a graph and leave their embeddings. The contrast and its gradient with respect to the embeddings are
worked out over the whole batch. Then the clips pass again, with a graph: the product of embeddings and cached gradient has the
gradient of the contrast.
"""

import torch
from torch import Tensor

from cavmae.models.batch_share import BatchShare
from cavmae.models.cavmae import CAVMAE
from cavmae.models.pretraining_pass import ClipResults, PretrainSettings, contrast_loss


class CachedContrast:
    """The contrast of the clips that a process holds with all of the batch; 0 as long as no clips are added."""

    def __init__(self, model: CAVMAE, settings: PretrainSettings, share: BatchShare) -> None:
        self._model, self._settings, self._share = model, settings, share
        self._rows: list[tuple[Tensor, Tensor]] = []  # [n, D] of audio and of pictures, piece by piece
        self._gradients: tuple[Tensor, ...] | None = None
        self.loss = self.accuracy = torch.zeros(())

    def add(self, results: ClipResults) -> None:
        """Add the next clips' embeddings, where they were asked for."""
        if results.pooled_a is not None and results.pooled_v is not None:
            self._rows.append((results.pooled_a.detach(), results.pooled_v.detach()))

    def work_out(self, with_gradients: bool = True) -> None:
        """Work out weighted loss and accuracy over the whole batch, and the gradient with respect to the own embeddings."""
        if not self._rows:
            return
        own = [torch.cat(rows).requires_grad_(with_gradients) for rows in zip(*self._rows, strict=True)]
        gathered_a, gathered_v = (self._share.gather(rows) for rows in own)
        loss, self.accuracy = contrast_loss(self._model, gathered_a, gathered_v, self._settings)
        if with_gradients:
            self._gradients = torch.autograd.grad(loss, own)
        self.loss = loss.detach()

    def surrogate(self, results: ClipResults, start: int) -> Tensor | float:
        """What has the gradient of the contrast for clips `start` and on, whose results have a graph; 0 without a contrast."""
        if self._gradients is None or results.pooled_a is None or results.pooled_v is None:
            return 0.0
        stop = start + len(results.pooled_a)
        by_a, by_v = (gradient[start:stop] for gradient in self._gradients)
        return (results.pooled_a * by_a).sum() + (results.pooled_v * by_v).sum()
