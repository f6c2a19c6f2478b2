"""The figure: six panels where they belong, hidden patches grey, colours even; the page: nothing of a name is believed."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cavmae.evaluation.inpainting import Inpainted
from cavmae.evaluation.inpainting_colours import colour_table
from cavmae.evaluation.inpainting_figure import figure_png
from cavmae.evaluation.inpainting_page import render
from cavmae.features.images import normalise_images
from cavmae.models.folder import ModelConfig, read_config
from tests.training.tiny import tiny

LEFT, TOP, SIDE, HEIGHT = 104, 60, 480, 274  # of the first panel; the others follow 36 pixels apart
COLUMNS = [LEFT + column * (SIDE + 36) for column in range(3)]
BELOW = TOP + SIDE + 36 + 44


def config() -> ModelConfig:
    return read_config(tiny().pretrained)


def result(frames: int = 96) -> Inpainted:
    """A red picture, its left half hidden and restored green; loud low bands, their later half hidden and restored quiet."""
    red, green = (normalise_images(torch.tensor([colour], dtype=torch.uint8).expand(1, 32, 32, 3))[0] for colour in COLOURS)
    hidden_v = torch.zeros(3, 32, 32, dtype=torch.bool)
    hidden_v[:, :, :16] = True
    audio = torch.zeros(frames, 32)
    audio[:, :16] = 2.0
    hidden_a = torch.zeros(frames, 32, dtype=torch.bool)
    hidden_a[frames // 2 :, :16] = True
    audio_restored = torch.where(hidden_a, torch.zeros(1), audio)
    return Inpainted(audio, audio_restored, hidden_a, red, torch.where(hidden_v, green, red), hidden_v, 0.5, 0.25)


COLOURS = ((200, 10, 20), (30, 180, 40))


def pixels(one: Inpainted, frames: int = 96) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_png(one, config(), frames))))


def test_six_panels_show_what_was_what_is_hidden_and_what_became_of_it() -> None:
    figure = pixels(result())
    assert figure.shape == (BELOW + HEIGHT + 64, COLUMNS[2] + SIDE + 116, 3)
    middle, first, last = TOP + SIDE // 2, SIDE // 4, 3 * SIDE // 4
    assert [tuple(figure[middle, COLUMNS[column] + last]) for column in range(3)] == [COLOURS[0]] * 3
    assert tuple(figure[middle, COLUMNS[0] + first]) == COLOURS[0] and tuple(figure[middle, COLUMNS[2] + first]) == COLOURS[1]
    veil = figure[TOP : TOP + SIDE, COLUMNS[1] : COLUMNS[1] + SIDE // 2].reshape(-1, 3)
    assert {tuple(int(value) for value in colour) for colour in np.unique(veil, axis=0)} == {(144,) * 3, (160,) * 3}

    low_band, high_band = BELOW + HEIGHT - 10, BELOW + 10
    loud, quiet = tuple(colour_table()[255]), tuple(colour_table()[0])
    for x in (first, last):
        assert tuple(figure[low_band, COLUMNS[0] + x]) == loud and tuple(figure[high_band, COLUMNS[0] + x]) == quiet
    assert tuple(figure[low_band, COLUMNS[1] + first]) == loud and tuple(figure[low_band, COLUMNS[2] + first]) == loud
    assert tuple(figure[low_band, COLUMNS[2] + last]) == quiet
    assert len(set(figure[low_band, COLUMNS[1] + last].tolist())) == 1  # grey
    assert tuple(figure[high_band, COLUMNS[1] + last]) == quiet


def test_equal_results_give_equal_bytes() -> None:
    assert figure_png(result(), config(), 96) == figure_png(result(), config(), 96)


def test_the_titles_say_where_a_model_of_normalised_patches_was_given_the_levels() -> None:
    plain, given = (config().model_copy(update={"norm_pix_loss": value}) for value in (False, True))
    titles = [np.asarray(Image.open(io.BytesIO(figure_png(result(), one, 96))))[:TOP, COLUMNS[2] :] for one in (plain, given)]
    assert (titles[1] < 128).sum() > 1.3 * (titles[0] < 128).sum()


@pytest.mark.parametrize("frames", [1, 7, 96])
def test_padding_is_not_shown_and_short_or_even_sound_is_no_trouble(frames: int) -> None:
    one = result()
    one.audio[frames:] = 99.0  # would take the whole scale
    figure = pixels(one, frames)
    assert tuple(figure[BELOW + HEIGHT - 10, COLUMNS[0] + 10]) == tuple(colour_table()[255])
    one.audio[:] = -3.0
    assert tuple(pixels(one, frames)[BELOW + 100, COLUMNS[0] + 100]) == tuple(colour_table()[0])


def test_a_large_picture_is_shown_pixel_by_pixel() -> None:
    image = torch.zeros(3, 640, 640)
    big = Inpainted(result().audio, result().audio, result().hidden_a, image, image, image > 1, None, None)
    assert pixels(big).shape[1] == LEFT + 3 * 640 + 2 * 36 + 116


def test_the_colours_are_even_and_only_get_lighter() -> None:
    table = colour_table().astype(float) / 255
    assert table.shape == (256, 3)
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_lms += [[0.0883024619, 0.2817188376, 0.6299787005]]
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    to_lab += [[0.0259040371, 0.7827717662, -0.8086757660]]
    lab = np.cbrt(linear @ np.array(to_lms).T) @ np.array(to_lab).T
    assert bool((np.diff(lab[::4, 0]) > 0).all())
    steps = np.linalg.norm(np.diff(lab[::15], axis=0), axis=1)
    assert steps.max() < 1.15 * steps.min()
    assert np.ptp(table, axis=1).min() > 0.1  # no grey among them


def document(**changes: Any) -> dict[str, Any]:
    clip = {"name": "a-1", "path": "a.mp4", "seconds": 1.0, "loss_a": 0.5, "loss_v": None, "gain": 0.5}
    page = {"clips": [clip], "failed": [], "mean": {"loss_a": 0.5, "loss_v": None}, "mask_mode": "tf", "mask_ratio_a": 0.75}
    page |= {"mask_ratio_v": 0.0, "seed": 0, "griffin_lim_iterations": 8, "norm_pix_loss": False, "model": {"path": "models/x"}}
    return page | changes


def test_the_page_refers_to_the_files_beside_it_and_names_losses_and_gain() -> None:
    page = render(document(), "figure.png")
    assert 'src="a-1/figure.png"' in page
    for name in ("original", "vocoded", "masked", "reconstructed"):
        assert f'src="a-1/{name}.wav"' in page
    assert page.count("softer by 6.0 dB") == 3 and "75 %" in page and "moments and frequency bands" in page
    assert "true mean and spread" not in page and "could not be used" not in page
    assert "<script" not in page and "http://" not in page and "https://" not in page


def test_names_and_reasons_are_only_text() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    clip = document()["clips"][0] | {"path": evil}
    page = render(
        document(clips=[clip], failed=[{"path": evil, "reason": evil}], model={"path": evil}, norm_pix_loss=True), "figure.png"
    )
    assert "<script" not in page and "<img src=x" not in page and page.count("&lt;script&gt;") == 4
    assert "1 of 2 files could not be used" in page and "true mean and spread" in page
