"""A page with the learning curves of one training run."""

from collections.abc import Mapping, Sequence

from cavmae.evaluation.page import render_page
from cavmae.evaluation.pictures import learning


def learning_page(title: str, rows: Sequence[Mapping[str, float]]) -> str:
    """Return the page; `rows` are the epochs' {epoch, train_loss, val_loss, ...}, as a curve file holds them."""
    charts = [chart for run in learning({title: rows}) for chart in run["charts"]]
    last = ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in rows[-1].items() if key != "epoch") if rows else ""
    return render_page("learning.html.j2", title=title, charts=charts, epochs=len(rows), last=last)
