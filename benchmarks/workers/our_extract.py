"""Our extraction on one core, in turns: every clip of a manifest read and written into a shard."""

import os
import tempfile
from pathlib import Path

from benchmarks.workers.pipe import Meter, Turns, peak_bytes
from cavmae.dataset.extraction import clip_settings
from cavmae.dataset.params import ExtractParams
from cavmae.dataset.schema import CLIPS, read_rows
from cavmae.dataset.shards import ShardTask, write_shard
from cavmae.params import default_params_path, load_section
from cavmae.storage import read_json


def main() -> None:
    """Write the manifest's clips as one shard, a turn."""
    turns = Turns()
    settings = turns.wait()
    os.sched_setaffinity(0, {settings["core"]})
    overrides = [
        f"frame_size={settings['side']}",
        f"jpeg_quality={settings['quality']}",
        f"frame_index={settings['frame_index']}",
    ]
    params = load_section(ExtractParams, "extract", default_params_path(), overrides)
    rows = list(read_rows(Path(settings["manifest"]), CLIPS))
    task = ShardTask("train-000000", rows, clip_settings(params), params.jpeg_quality, {})
    turns.answer()
    meter = Meter()
    while True:
        turns.wait()
        with tempfile.TemporaryDirectory(dir=settings["work"]) as folder:
            meter.start()
            write_shard(Path(folder), task, lambda video_id: None)
            answer = meter.read()
            record = read_json(Path(folder) / f"{task.name}.json")
        turns.answer(**answer, clips=len(record["members"]), bytes=record["bytes"], peak_bytes=peak_bytes())


if __name__ == "__main__":
    main()
