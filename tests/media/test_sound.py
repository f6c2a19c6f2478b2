"""Sound: level, silence, resampling, the clock."""

import numpy as np
import pytest

from cavmae.media.sound import level_dbfs, silent_share


def test_level_is_the_rms_below_full_scale() -> None:
    sine = (32767 * np.sin(np.arange(16000) * 0.1)).astype(np.int16)
    assert level_dbfs(sine) == pytest.approx(-3.01, abs=0.02)
    assert level_dbfs(np.zeros(100, dtype=np.int16)) == -100.0
    assert level_dbfs(np.zeros(0, dtype=np.int16)) == -100.0


def test_silent_share_counts_blocks() -> None:
    wave = np.zeros(16000, dtype=np.int16)
    wave[:4000] = 1000
    assert silent_share(wave, 16000, -80.0) == pytest.approx(0.7)
    assert silent_share(wave[:100], 16000, -80.0) == 0.0
    assert silent_share(wave[:0], 16000, -80.0) == 1.0
