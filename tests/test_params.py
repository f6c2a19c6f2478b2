"""Parameters: checked before any work, wrong ones named with file, key and value."""

from pathlib import Path

import pytest

from cavmae.dataset.params import ExtractParams, IngestParams
from cavmae.errors import InputError
from cavmae.params import default_params_path, knobs, load_section
from tests.dataset.made import DEFAULTS, ingest_params


def load(text: bytes | str, tmp_path: Path, *overrides: str) -> ExtractParams:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_section(ExtractParams, "extract", path, overrides)


def edited(old: str, new: str) -> str:
    text = DEFAULTS.read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new, 1)


def test_the_defaults_are_valid() -> None:
    assert load_section(ExtractParams, "extract", DEFAULTS).frames == 10
    assert load_section(IngestParams, "ingest", DEFAULTS).source == "sample"


def test_overrides_reach_into_groups_and_may_name_their_section() -> None:
    params = ingest_params("sample.clips=48", "ingest.seed=7", "window_s=1e1", "hop_s=2", "labels_csv=null")
    assert (params.sample.clips, params.seed, params.window_s, params.hop_s, params.labels_csv) == (48, 7, 10.0, 2.0, None)


@pytest.mark.parametrize("name", ["2024", "no", "1e5", "a: b", "2020-13-45", "[x", "*x", "~/films", "-clips", "ü ♫", "{}", "a=b"])
def test_a_source_may_be_called_anything(name: str) -> None:
    assert ingest_params(f"source={name}").source == name


def test_quotes_around_a_text_are_yaml() -> None:
    assert ingest_params("source='a #b'").source == "a #b"
    assert ingest_params('source="null"').source == "null"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nope=1", "section 'ingest' has no key 'nope'; known keys: hop_s, labels_csv"),
        ("ingest.nope=1", "section 'ingest' has no key 'nope'"),
        ("sample.nope=1", "has no key 'sample.nope'; known keys: broken, clips"),
        ("seed.x=1", "'seed' holds a value, not a group of keys"),
        ("seed", "give it as key=value"),
        ("=1", "give it as key=value"),
        ("seed=[1", "the value is not valid YAML"),
        ("seed=2020-13-45", "the value is not valid YAML"),
        ("workers=many", "^parameter 'ingest.workers' is 'many'; input should be a valid integer"),
        ("workers=true", "^parameter 'ingest.workers' is True; input should be a number"),
        ("window_s=false", "^parameter 'ingest.window_s' is False; input should be a number"),
        ("workers=0", "^parameter 'ingest.workers' is 0; input should be greater than or equal to 1"),
        ("window_s=.nan", "parameter 'ingest.window_s' is nan; input should be"),
        ("source=", "parameter 'ingest.source' is ''; .* at least 1 character"),
        ("sample.size=17", "parameter 'ingest.sample.size' is 17; input should be a multiple of 2"),
        ("val_share=0.95", "parameters 'ingest': val_share and test_share together must be below 1"),
    ],
)
def test_a_wrong_override_is_named(override: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        ingest_params(override)
    assert "\n" not in str(raised.value)


def test_a_typo_in_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'extract\.frame_size' is missing; .*unknown parameter 'extract\.frame_sise'"):
        load(edited("  frame_size:", "  frame_sise:"), tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extract: [", "line 1: not valid YAML"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML"),
        ("extract: !!python/object:os.system x", "not valid YAML"),
        ("when: 2020-13-45", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("", "section 'extract' is missing"),
        ("extract: 3", "section 'extract' is missing"),
        ("- extract", "holds no mapping"),
        (b"\xff\xfe\0", "cannot be read"),
        (
            edited("  workers: 2                   # decoding", "  workers: lots # "),
            r"params.yaml: parameter 'extract.workers' is 'lots'",
        ),
        (edited("  frames: 10", "  7: 10\n  frames: 10"), "extract.7"),
    ],
)
def test_a_file_that_is_wrong_is_named_in_one_line(tmp_path: Path, text: bytes | str, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        load(text, tmp_path)
    assert "params.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_wrong_input_for_values_and_for_help(tmp_path: Path) -> None:
    for read in (
        lambda: load_section(ExtractParams, "extract", tmp_path / "p.yaml"),
        lambda: knobs("extract", tmp_path / "p.yaml"),
    ):
        with pytest.raises(InputError, match="no such file; name the parameter file with --params"):
            read()


def test_help_comes_from_the_comments_with_every_knob_of_the_section() -> None:
    found = knobs("ingest", DEFAULTS)
    assert found["seed"] == (0, "of the split, and of the sample set")
    assert found["sample.clips"] == (800, "clips in the sample set")
    fields = set(IngestParams.model_fields) - {"sample"}
    assert fields <= set(found) and all(comment for _, comment in found.values())


def test_parameters_cannot_be_changed_once_they_are_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ingest_params().seed = 3  # type: ignore[misc]


def test_the_file_in_the_current_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_params_path().resolve() == DEFAULTS
    (tmp_path / "params.yaml").touch()
    assert default_params_path() == Path("params.yaml")
