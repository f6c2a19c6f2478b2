"""Which clip of the manifest before an input is: its content tells; its path does where that content was never seen."""

from collections.abc import Mapping, Sequence

from cavmae.dataset.departed import Departed
from cavmae.dataset.schema import Row

Place = tuple[str, float | None, float | None]  # path, start and end of the window
Content = tuple[str, float | None, float | None]  # hash, start and end of the window


class Before:
    """The rows of the last manifest, held against what lies where now."""

    def __init__(self, previous: Sequence[Row], departed: Departed, here: Mapping[Place, str]) -> None:
        """`here`: the hash of the content of every input that there is now."""
        self._at: dict[Place, Row] = {_place_of(row): row for row in previous}
        self._with: dict[Content, Row] = {_content_of(row): row for row in previous}
        self._contents = {row["sha256"] for row in previous}
        self._departed = departed
        self._here = here
        self._contents_here = {(digest, *place[1:]) for place, digest in here.items()}

    def rank(self, place: Place) -> int:
        """Of inputs with the same content that of lowest rank stays: one that has not changed, one at a known path, a new one."""
        row = self._at.get(place)
        return 2 if row is None else int(row["sha256"] != self._here.get(place))

    def row(self, place: Place, digest: str) -> Row | None:
        """Return the row that an input goes on from, or None for a clip that is new.

        A file that was renamed or moved, also to the name of another one, is the same clip. A film that was never seen, at the
        path of one that lies nowhere any more, takes its place.
        """
        at = self._at.get(place)
        if at is not None and at["sha256"] == digest:
            return at
        moved = self._with.get((digest, *place[1:]))
        if moved is not None and self._here.get(_place_of(moved)) != digest:
            return moved
        if at is None or digest in self._contents or self._departed.knows(digest):
            return None
        return at if _content_of(at) not in self._contents_here else None


def _place_of(row: Row) -> Place:
    """Where the clip of a row lies."""
    return row["path"], row["start_s"], row["end_s"]


def _content_of(row: Row) -> Content:
    return row["sha256"], row["start_s"], row["end_s"]
