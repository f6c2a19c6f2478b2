"""What the gallery says, on the sheets and on the page alike."""

from cavmae.evaluation.gallery import ClipView, Gallery, Search
from cavmae.evaluation.retrieval import AUDIO_TO_VIDEO, VIDEO_TO_AUDIO

TITLES = {AUDIO_TO_VIDEO: "Sound to picture", VIDEO_TO_AUDIO: "Picture to sound"}
KIND_WORDS = {"best": "best", "random": "by lot", "worst": "worst"}


def rank_words(search: Search, clips: int) -> str:
    """Return why the query is shown and where its right clip came: `worst: rank 70 of 80`."""
    first = search.rank
    place = f"rank {first}" if not search.tied else f"ranks {first}-{first + search.tied} (tied)"
    return f"{KIND_WORDS[search.kind]}: {place} of {clips}"


def figures_line(gallery: Gallery, way: str) -> str:
    """Return the direction's figures in one line."""
    figures = gallery.figures[way]
    parts = [f"R@{depth} {figures[f'r{depth}']:.3f}" for depth in (1, 5, 10)]
    return "   ".join([*parts, f"median rank {figures['median_rank']:.1f}", f"R@1 by chance {figures['chance_r1']:.4f}"])


def named(view: ClipView) -> str:
    """Return the clip's labels in one line."""
    return ", ".join(view.labels) or "no label"
