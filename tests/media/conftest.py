"""Settings that the media tests share."""

import pytest

from cavmae.media.clip import ClipSettings


@pytest.fixture
def settings() -> ClipSettings:
    return ClipSettings(
        frames=10,
        image_size=32,
        sample_rate=16000,
        frame_index="exact",
        min_duration_s=0.5,
        silence_dbfs=-80.0,
        max_pixels=40_000_000,
    )
