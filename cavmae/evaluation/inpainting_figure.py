"""The figure of an inpainted clip, as in the paper: original, masked, reconstructed; picture above, spectrogram below."""

import io
import math

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cavmae.evaluation.figures import INK, nice_ticks
from cavmae.evaluation.inpainting import Inpainted
from cavmae.evaluation.inpainting_colours import colour_table
from cavmae.features.fbank import LOW_HZ, SHIFT_S, FbankSettings
from cavmae.features.images import denormalise_images
from cavmae.models.folder import ModelConfig

_GREYS = (144, 160)  # stripes of hidden patches: no colour of the map is grey, and no grey wall has stripes
_STRIPE = 8  # pixels
_SOFT = "#5b6673"
_PANEL = 480  # least side of a picture, in pixels: three times as wide the figure stays sharp on a screen of twice the density
_GAP, _LEFT, _RIGHT, _TITLE, _BOTTOM, _MARGIN = 36, 104, 116, 44, 64, 16
_FONT, _SMALL = 26, 21
_SPECTROGRAM_SHARE = 4 / 7  # height over width
_HERTZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
_DECIBEL = 10 / math.log(10)  # of one step of the natural logarithm of power


def figure_png(result: Inpainted, config: ModelConfig, frames: int) -> bytes:
    """Return the six panels as a PNG file; equal results give equal bytes.

    Of the spectrogram the `frames` are shown that hold sound, time to the right, high bands on top, all three on the scale
    of the original. Hidden patches are grey. Small pictures are magnified by a whole number, pixel by pixel. Where the model
    was trained on normalised patches, the titles of what it restored say that it was given the levels.
    """
    zoom = max(1, math.ceil(_PANEL / result.image.shape[-1]))
    side = zoom * result.image.shape[-1]
    height = round(side * _SPECTROGRAM_SHARE)
    picture = _picture(result.image, side)
    pictures = (picture, _veiled(picture, result.hidden_v[0]), _picture(result.image_restored, side))
    low, high = (float(value) for value in np.percentile(result.audio[:frames].numpy(), [2, 99.8]))
    span = high - low if high > low else 1.0
    heard, restored = (
        _spectrogram((log_mel[:frames] - low) / span, side, height) for log_mel in (result.audio, result.audio_restored)
    )
    spectrograms = (heard, _veiled(heard, result.hidden_a[:frames].t().flip(0)), restored)

    top, below = _MARGIN + _TITLE, _MARGIN + _TITLE + side + _GAP + _TITLE
    size = (_LEFT + 3 * side + 2 * _GAP + _RIGHT, below + height + _BOTTOM)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    given = ", levels given" if config.norm_pix_loss else ""
    titles = _titles("picture", result.hidden_v, given), _titles("spectrogram", result.hidden_a, given)
    for column in range(3):
        left = _LEFT + column * (side + _GAP)
        draw.text((left, top - 10), titles[0][column], INK, _font(_FONT), "ls")
        canvas.paste(pictures[column], (left, top))
        draw.text((left, below - 10), titles[1][column], INK, _font(_FONT), "ls")
        canvas.paste(spectrograms[column], (left, below))
        _time_axis(draw, left, below + height, side, frames * SHIFT_S)
    _frequency_axis(draw, _LEFT, below, height, config.fbank)
    _scale(canvas, draw, size[0] - _RIGHT + 16, below, height, span * config.normalisation.std * _DECIBEL)
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue()


def _titles(what: str, hidden: Tensor, given: str) -> tuple[str, str, str]:
    share = f"{100 * float(hidden.float().mean()):.0f} %"
    return f"Original {what}", f"Masked {what}, {share} hidden", f"Reconstructed {what}{given}"


def _picture(image: Tensor, side: int) -> Image.Image:
    """A normalised picture [3, H, W] for the screen."""
    pixels = Image.fromarray(denormalise_images(image.unsqueeze(0))[0].numpy())
    return pixels.resize((side, side), Image.Resampling.NEAREST)


def _spectrogram(level: Tensor, width: int, height: int) -> Image.Image:
    """A spectrogram [T, M] of levels, shown from 0 to 1, in colours."""
    upright = level.clamp(0, 1).t().flip(0).contiguous().numpy()  # [M, T], high band first
    scaled = np.asarray(Image.fromarray(upright).resize((width, height), Image.Resampling.BOX))
    return Image.fromarray(colour_table()[(scaled * 255).round().astype(np.uint8)])


def _veiled(panel: Image.Image, hidden: Tensor) -> Image.Image:
    """The panel with grey stripes over the parts of it that `hidden` [rows, columns] marks."""
    mask = Image.fromarray(hidden.to(torch.uint8).contiguous().numpy() * 255).resize(panel.size, Image.Resampling.NEAREST)
    rows, columns = np.indices((panel.height, panel.width))
    stripes = np.array(_GREYS, dtype=np.uint8)[(rows + columns) // _STRIPE % 2]
    panel = panel.copy()
    panel.paste(Image.fromarray(stripes).convert("RGB"), mask=mask)
    return panel


def _time_axis(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, seconds: float) -> None:
    for value, text in nice_ticks(0, seconds, 5):
        x = left + round(value / seconds * (width - 1))
        draw.line((x, top, x, top + 6), fill=_SOFT, width=2)
        last = value > 0.93 * seconds
        draw.text((x, top + 10), f"{text} s" if value == 0 or last else text, _SOFT, _font(_SMALL), "rt" if last else "lt")


def _frequency_axis(draw: ImageDraw.ImageDraw, left: int, top: int, height: int, settings: FbankSettings) -> None:
    low, high = _mel(LOW_HZ), _mel(settings.sample_rate / 2)
    for hertz in _HERTZ:
        place = (_mel(hertz) - low) / (high - low)
        if 0 < place <= 1:
            y = top + round((1 - place) * (height - 1))
            draw.line((left - 8, y, left - 2, y), fill=_SOFT, width=2)
            draw.text((left - 14, y), f"{hertz / 1000:g} kHz", _SOFT, _font(_SMALL), "rt" if place > 0.97 else "rm")


def _scale(canvas: Image.Image, draw: ImageDraw.ImageDraw, left: int, top: int, height: int, decibels: float) -> None:
    """The colours from quiet to loud, in dB below the loudest."""
    ramp = colour_table()[np.linspace(255, 0, height).round().astype(np.uint8)]
    canvas.paste(Image.fromarray(np.repeat(ramp[:, None], 18, axis=1)), (left, top))
    for share, anchor in ((0.0, "lt"), (0.5, "lm"), (1.0, "lb")):
        text = f"{-share * decibels:.0f} dB" if share else "0 dB"
        draw.text((left + 24, top + round(share * (height - 1))), text, _SOFT, _font(_SMALL), anchor)


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
