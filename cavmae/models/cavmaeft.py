"""CAV-MAE with a classification head, in the five modality modes (Gong et al. 2023, sections 3.4 and 4.2)."""

from typing import Literal

import torch
from torch import Tensor, nn

from cavmae.models.blocks import Modality
from cavmae.models.encoder import AudioVisualEncoder, Modalities

Mode = Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"]
MODES: tuple[Mode, ...] = ("multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly")
SEES: dict[Mode, tuple[Modality, ...]] = {  # what is at hand in each mode
    "multimodal": ("a", "v"),
    "audioonly": ("a",),
    "videoonly": ("v",),
    "missingaudioonly": ("a",),
    "missingvideoonly": ("v",),
}


class CAVMAEFT(AudioVisualEncoder):
    """The fine-tuning model; the defaults are the published base model.

    Modes: `multimodal` sees both; `audioonly` and `videoonly` are trained and used on one modality; `missingaudioonly`
    and `missingvideoonly` use a model trained on both where only audio, or only video, is at hand. With `modalities="a"`
    the model has no visual parts (the original's CAVMAEFTAudio), and modes that need pictures raise ValueError.
    """

    def __init__(
        self,
        label_dim: int,
        img_size: int = 224,
        audio_length: int = 1024,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        modality_specific_depth: int = 11,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        tr_pos: bool = True,
        *,
        depth: int = 12,
        num_mel_bins: int = 128,
        audio_patch_size: int | None = None,
        modalities: Modalities = "av",
    ) -> None:
        super().__init__(
            img_size=img_size,
            audio_length=audio_length,
            patch_size=patch_size,
            in_chans=in_chans,
            embed_dim=embed_dim,
            modality_specific_depth=modality_specific_depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            tr_pos=tr_pos,
            depth=depth,
            num_mel_bins=num_mel_bins,
            audio_patch_size=audio_patch_size,
            modalities=modalities,
        )
        self.label_dim = label_dim
        self.mlp_head = nn.Sequential(nn.LayerNorm(embed_dim), nn.Linear(embed_dim, label_dim))
        self.initialize_weights()

    def forward(self, a: Tensor | None, v: Tensor | None, mode: Mode) -> Tensor:
        """Logits [B, label_dim] of log-mel [B, T, M] and pictures [B, C, H, W]; a modality not in use may be None.

        Raises ValueError for an unknown mode, a missing input, and pictures where the model has no visual parts.
        """
        logits: Tensor = self.mlp_head(self.pooled(a, v, mode))
        return logits

    def frame_logits(self, a: Tensor | None, frames: Tensor, count: int, mode: Mode) -> Tensor:
        """Logits [B * count, label_dim] of `count` pictures a clip, frames [B * count, C, H, W]; audio is streamed once."""
        if mode != "multimodal":
            return self(a, frames, mode)  # type: ignore[no-any-return]
        return self.forward_from(self._stream("a", a, mode), self._stream("v", frames, mode), mode)

    def encode_audio(self, a: Tensor) -> Tensor:
        """Log-mel [B, T, M] -> audio tokens [B, La, D] behind the audio-specific blocks, which no picture changes."""
        return self._stream("a", a, "audioonly")

    def encode_video(self, v: Tensor) -> Tensor:
        """Pictures [B, C, H, W] -> visual tokens [B, Lv, D] behind the visual-specific blocks, which no sound changes.

        Raises ValueError where the model has no visual parts.
        """
        return self._stream("v", v, "videoonly")

    def forward_from(self, audio: Tensor | None, video: Tensor | None, mode: Mode) -> Tensor:
        """Logits of what `encode_audio` and `encode_video` gave; with `video` [B * n, Lv, D] those of n pictures a clip.

        The pictures of a clip follow each other, and so do their logits [B * n, label_dim]; tokens that the mode does not
        see may be None. Equal to `forward` on each picture with the sound of its clip.
        """
        if mode == "multimodal" and audio is not None and video is not None and audio.shape[0] != video.shape[0]:
            audio = audio.repeat_interleave(video.shape[0] // audio.shape[0], dim=0)  # [B*n, La, D]
        logits: Tensor = self.mlp_head(self._pool(audio, video, mode))
        return logits

    def pooled(self, a: Tensor | None, v: Tensor | None, mode: Mode) -> Tensor:
        """The mean token [B, D] that the head sees."""
        if mode not in SEES:
            raise ValueError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
        audio = self._stream("a", a, mode) if "a" in SEES[mode] else None
        video = self._stream("v", v, mode) if "v" in SEES[mode] else None
        return self._pool(audio, video, mode)

    def _pool(self, audio: Tensor | None, video: Tensor | None, mode: Mode) -> Tensor:
        if mode == "multimodal":
            assert audio is not None and video is not None
            return self.shared(torch.cat([audio, video], dim=1)).mean(dim=1)
        (own,) = SEES[mode]
        tokens = audio if own == "a" else video  # [B, L, D]
        assert tokens is not None
        return self.shared(tokens, own).mean(dim=1) if mode in ("audioonly", "videoonly") else self._two_passes(tokens, own)

    def _stream(self, modality: Modality, x: Tensor | None, mode: Mode) -> Tensor:
        if modality not in self.modalities:
            raise ValueError("the model has no visual parts; use it on sound alone, in mode 'audioonly'")
        if x is None:
            raise ValueError(f"mode {mode!r} needs {'audio' if modality == 'a' else 'pictures'}")
        return self.stream_a(self.embed_a(x)) if modality == "a" else self.stream_v(self.embed_v(x))

    def _two_passes(self, tokens: Tensor, modality: Modality) -> Tensor:
        # the head was trained on the unified pass: it meets the absent modality half way
        return (self.shared(tokens).mean(dim=1) + self.shared(tokens, modality).mean(dim=1)) / 2

    def forward_feat(
        self, a: Tensor | None, v: Tensor | None, mode: Literal["av", "a", "v"] = "av"
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Token features [B, L, D] of the single-modality passes: both, or one, as `mode` says.

        Raises ValueError for an unknown mode, a missing input, and pictures where the model has no visual parts.
        """
        if mode not in ("av", "a", "v"):
            raise ValueError(f"unknown feature mode {mode!r}; known: av, a, v")
        tokens_a = self.shared(self._stream("a", a, "multimodal"), "a") if "a" in mode else None
        tokens_v = self.shared(self._stream("v", v, "multimodal"), "v") if "v" in mode else None
        if tokens_a is not None and tokens_v is not None:
            return tokens_a, tokens_v
        only = tokens_a if tokens_a is not None else tokens_v
        assert only is not None
        return only
