"""Shards in a store: made in parts, found again, put together, and the same to the byte as on a laptop."""

import os
from pathlib import Path

import pytest

from cavmae.dataset.extraction import Extracted, extract_clips
from cavmae.dataset.kept_lists import kept_versions
from cavmae.dataset.loader import ClipSet, read_clips
from cavmae.dataset.schema import FACTS, count_rows
from cavmae.dataset.shelf import LOCATION, Shelf
from cavmae.dataset.validation import validate_dataset
from cavmae.errors import InputError, StepFailed
from cavmae.storage import read_json, sha256_file
from cavmae.stores import open_store
from tests.dataset.made import blob, extract_params, ingested, tiny_film
from tests.dataset.validation_delivery import limits
from tests.s3_service import S3Service
from tests.steps.command import die

TABLES = ("index.json", "facts.parquet", "quarantine.parquet")
VALIDATED = ("index.json", "clips.parquet", "labels.csv", "quarantine.parquet", "verdict.json")


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine films and one that is none, in shards of two."""
    monkeypatch.chdir(tmp_path)
    for number in range(9):
        tiny_film(Path(f"v/dog/{number}.mp4"), 0.1 + number / 20)
    blob(Path("v/dog/noise.mp4"))
    ingested(Path("v"), Path("i"), "shard_clips=2")
    return Path("i/clips.parquet")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return "store/of/shards"
    service: S3Service = request.getfixturevalue("s3_server")
    return f"s3://{service.bucket()}/shards"


def extract(manifest: Path, out: str, *overrides: str) -> Extracted:
    return extract_clips(manifest, Path(out), extract_params("workers=1", *overrides))


def validate(shards: str, out: str) -> Path:
    assert validate_dataset(Path("i"), Path(shards), Path(out), limits(min_clips_per_label_train=1)).passed
    return Path(out)


def same(one: str, two: str, names: tuple[str, ...]) -> None:
    for name in names:
        assert (Path(one) / name).read_bytes() == (Path(two) / name).read_bytes(), name


def test_parts_and_their_join_give_the_bytes_of_one_run_on_a_laptop(manifest: Path, store: str) -> None:
    laptop = extract(manifest, "laptop/shards")
    parts = [extract(manifest, f"part{number}", f"store={store}", f"part={number}/3") for number in (1, 2, 3)]
    assert sum(part.clips for part in parts) == laptop.clips == 9 and sum(part.quarantined for part in parts) == 1
    assert sum(part.written for part in parts) == laptop.shards and all(part.shards for part in parts)

    # the join makes no shard, and nothing of the shards lies in its output
    joined = extract(manifest, "joined/shards", f"store={store}")
    assert (joined.written, joined.decoded) == (0, 0) and joined.shards == laptop.shards
    assert sorted(os.listdir("joined/shards")) == sorted([*TABLES, LOCATION])
    same("laptop/shards", "joined/shards", TABLES)
    shelf = Shelf.beside(Path("joined/shards"))
    assert shelf is not None
    for shard in read_json(Path("joined/shards/index.json"))["shards"]:
        for name, ending in ((shelf.tar(shard["name"]), "tar"), (shelf.record_name(shard["name"]), "json")):
            assert shelf.store.read(name) == Path(f"laptop/shards/{shard['name']}.{ending}").read_bytes()
        assert shelf.tar(shard["name"]).startswith(f"{shard['name']}-")

    # and so are the validated set, and what training reads of it
    validate("laptop/shards", "laptop/validated")
    validate("joined/shards", "joined/validated")
    same("laptop/validated", "joined/validated", VALIDATED)
    here, there = ClipSet(Path("laptop/validated")), ClipSet(Path("joined/validated"))
    assert here.longest_s == there.longest_s
    for split in ("train", "val", "test"):
        assert [list(clip.items()) for clip in read_clips(here.splits[split])] == [
            list(clip.items()) for clip in read_clips(there.splits[split])
        ]
        assert [clip.members() for clip in there.splits[split]] == list(read_clips(there.splits[split]))


def test_every_shard_stands_in_one_part_and_parts_may_be_empty(manifest: Path) -> None:
    everything = extract(manifest, "all")
    names: list[str] = []
    for number in range(1, 10):
        part = extract(manifest, f"part{number}", "store=store", f"part={number}/9")
        found = [shard["name"] for shard in read_json(Path(f"part{number}/index.json"))["shards"]]
        assert len(found) == part.shards <= 1
        assert part.clips == count_rows(Path(f"part{number}/facts.parquet"), FACTS)
        names += found
    assert sorted(names) == sorted(shard["name"] for shard in read_json(Path("all/index.json"))["shards"])
    assert everything.shards < 9, "some parts were empty"


def test_added_clips_make_new_shards_and_leave_what_is_there(manifest: Path, store: str) -> None:
    first = extract(manifest, "s", f"store={store}")
    before = {entry.name: entry.mark for entry in open_store(store).entries()}
    assert first.written * 2 == len(before)
    tiny_film(Path("v/dog/new.mp4"), 0.9)
    ingested(Path("v"), Path("i"), "shard_clips=2")
    grown = extract(manifest, "s", f"store={store}")
    after = {entry.name: entry.mark for entry in open_store(store).entries()}
    assert (grown.written, grown.decoded) == (1, 1) and len(after) == len(before) + 2
    assert {name: mark for name, mark in after.items() if name in before} == before


def test_the_lists_of_every_validated_version_are_kept_in_the_store_and_nowhere_else(manifest: Path, store: str) -> None:
    extract(manifest, "s", f"store={store}")
    first = sha256_file(validate("s", "validated") / "clips.parquet")
    tiny_film(Path("v/dog/new.mp4"), 0.9)
    ingested(Path("v"), Path("i"), "shard_clips=2")
    extract(manifest, "s", f"store={store}")
    second = sha256_file(validate("s", "validated") / "clips.parquet")
    assert sorted(kept_versions(open_store(store))) == sorted([first, second])
    extract(manifest, "laptop/shards")
    validate("laptop/shards", "laptop/validated")
    assert not list(Path("laptop").rglob("versions"))


def test_data_sets_of_other_settings_share_a_store(manifest: Path) -> None:
    extract(manifest, "a", "store=store")
    small = extract(manifest, "b", "store=store", "frame_size=16")
    assert small.written == small.shards
    assert extract(manifest, "a", "store=store").written == extract(manifest, "b", "store=store").written == 0


@pytest.mark.parametrize("damage", ["tar cut", "no tar", "no record", "record cut", "other fingerprint"])
def test_a_shard_that_is_not_whole_in_the_store_is_made_again(manifest: Path, damage: str) -> None:
    store = "store"
    extract(manifest, "s", f"store={store}")
    shelf = Shelf.beside(Path("s"))
    assert shelf is not None
    tar, record = shelf.tar("train-00001"), shelf.record_name("train-00001")
    before = shelf.store.read(tar), shelf.store.read(record)
    match damage:
        case "tar cut":
            shelf.store.write(tar, before[0][:-512])
        case "no tar":
            shelf.store.delete(tar)
        case "no record":
            shelf.store.delete(record)
        case "record cut":
            shelf.store.write(record, before[1][:50])
        case "other fingerprint":
            shelf.store.write(record, before[1].replace(b'"fingerprint": "', b'"fingerprint": "0'))
    assert extract(manifest, "s", f"store={store}").written == 1
    assert (shelf.store.read(tar), shelf.store.read(record)) == before


def test_the_laptops_own_shards_stay_when_a_store_is_named_and_serve_again_after(manifest: Path) -> None:
    extract(manifest, "s")
    extract(manifest, "s", "store=store")
    assert (Path("s") / LOCATION).exists()
    assert extract(manifest, "s").written == 0
    assert not (Path("s") / LOCATION).exists()


def test_folders_that_moved_together_find_their_shards_and_a_store_by_absolute_path_stays(manifest: Path) -> None:
    extract(manifest, "one/shards", "store=one/store")
    validate("one/shards", "one/validated")
    Path("one").rename("two")
    assert len(ClipSet(Path("two/validated")).split("train")[0].members()) == 4
    # also where they are named by absolute paths, which other machines do not have
    three = Path("two").absolute()
    assert validate_dataset(Path("i"), three / "shards", three / "validated", limits(min_clips_per_label_train=1)).passed
    assert read_json(three / "validated" / LOCATION)["root"] == "../store"
    absolute = Path("two/store").absolute()
    extract(manifest, "two/shards", f"store={absolute}")
    validate("two/shards", "two/validated")
    assert read_json(Path("two/validated") / LOCATION)["root"] == str(absolute)


def test_a_lost_shard_closes_the_gate_and_stops_the_reader_naming_where_it_should_be(manifest: Path, store: str) -> None:
    extract(manifest, "s", f"store={store}")
    validate("s", "validated")
    shelf = Shelf.beside(Path("s"))
    assert shelf is not None
    clip = ClipSet(Path("validated")).split("train")[-1]
    shelf.store.delete(clip.shard.name)
    with pytest.raises(StepFailed, match="shard is missing; run `cavmae extract` again") as raised:
        list(read_clips([clip]))
    assert shelf.store.uri(clip.shard.name) in str(raised.value)
    verdict = validate_dataset(Path("i"), Path("s"), Path("again"), limits(min_clips_per_label_train=1))
    assert verdict.failed == ["shard_file_whole"]
    shelf.store.delete(shelf.record_name("train-00000"))
    with pytest.raises(StepFailed, match="shard is missing") as raised:
        ClipSet(Path("validated"))
    assert shelf.store.uri(shelf.record_name("train-00000")) in str(raised.value)


def test_a_part_without_a_store_or_beyond_the_last_is_wrong_input() -> None:
    with pytest.raises(InputError, match="put together with the others through a store"):
        extract_params("part=1/2")
    with pytest.raises(InputError, match="part 3/2 does not exist"):
        extract_params("part=3/2", "store=s")
    for part in ("0/2", "1", "a/b", "1/0", "-1/2", "1/2/3"):
        with pytest.raises(InputError, match="part"):
            extract_params(f"part={part}", "store=s")


def test_a_missing_bucket_is_wrong_input_and_a_service_that_goes_away_a_failure(
    manifest: Path, s3_server: S3Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="there is no such bucket"):
        extract(manifest, "s", "store=s3://t-none-of-that-name/p")
    # who may read and not write meets the refusal in a worker
    location = f"s3://{s3_server.bucket()}/p"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "cavmae-reader")
    with pytest.raises(InputError, match=rf"{location}/\w+-00000-[0-9a-f]{{16}}\.tar: access is denied"):
        extract(manifest, "s", f"store={location}")
    assert list(Path("s").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "'root' and 'files' are missing"),
        ('{"files": {}}', "'root' and 'files' are missing"),
        ('{"root": "x", "files": []}', "'root' and 'files' are missing"),
        ('{"root": "x", "files": {"a": "../../etc/passwd"}}', "is no name for the files of shard 'a'"),
        ('{"root": "ftp://x", "files": {}}', "is no place for files"),
        ('{"root"', "not valid JSON"),
    ],
)
def test_a_location_that_is_none_is_wrong_input(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / LOCATION).write_text(content)
    with pytest.raises(InputError, match=says):
        Shelf.beside(tmp_path)


@pytest.mark.slow
def test_a_killed_part_continues_and_ends_the_same(manifest: Path, store: str, tmp_path: Path) -> None:
    extract(manifest, "laptop")
    words = ["extract", "--clips", "i", "--out", "part", "--store", store, "--part", "1/2", "--workers", "1"]
    words += ["--frames", "2", "--frame-size", "32"]
    deaths = 0
    while die(words, tmp_path, stored=1 + deaths % 2):  # after each tar and, with that written again, after its record
        deaths += 1
        assert len(list(open_store(store).names())) == deaths
    assert deaths == 6
    assert not list(Path("part").glob("*.partial"))
    extract(manifest, "rest", f"store={store}", "part=2/2")
    assert extract(manifest, "joined", f"store={store}").written == 0
    same("laptop", "joined", TABLES)
