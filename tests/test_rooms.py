"""The rules of the house, read from the source: who imports whom, and what is never written."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.training.tiny import REPOSITORY

PACKAGE = REPOSITORY / "cavmae"
ORDER = [
    {
        "errors",
        "storage",
        "stores",
        "stores_folder",
        "stores_s3",
        "dvc_objects",
        "git",
        "text_tables",
        "locations",
        "outputs",
        "params",
        "progress",
        "runlog",
        "locking",
    },
    {"media"},
    {"dataset"},
    {"features"},
    {"models"},
    {"evaluation"},
    {"training"},
    {"steps"},
    {"audit"},
    {"recipe"},
    {"recipes"},
    {"results", "recipe_pages", "registry_pages", "data_pages", "audit_pages"},
    {"pages"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
ELSEWHERE = {"kfp", "airflow", "dvc"}
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
NAMES = [path.relative_to(PACKAGE).as_posix() for path in SOURCES]
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in zip(NAMES, SOURCES, strict=True)}


def room(name: str) -> str:
    return Path(name).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in the file, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from ([f"cavmae.{alias.name}" for alias in node.names] if node.module == "cavmae" else [node.module])


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


@pytest.mark.parametrize("name", NAMES)
def test_a_room_imports_only_rooms_that_come_before_it(name: str) -> None:
    own = RANK[room(name)]
    for module in imported(TREES[name]):
        parts = module.split(".")
        if parts[0] == "cavmae" and len(parts) > 1 and parts[1] != "__version__":
            other = parts[1]
            assert other == room(name) or RANK[other] < own or (own == 0 and RANK[other] == 0), f"{name} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_the_library_knows_nothing_of_kubeflow_airflow_and_dvc(name: str) -> None:
    assert not {module.split(".")[0] for module in imported(TREES[name])} & ELSEWHERE


@pytest.mark.parametrize("name", [name for name in NAMES if room(name) in ("media", "dataset")])
def test_the_data_rooms_need_no_torch(name: str) -> None:
    assert not {module.split(".")[0] for module in imported(TREES[name])} & {"torch", "torchaudio", "safetensors"}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_prints_but_the_command_line_and_nothing_edits_the_import_path(name: str) -> None:
    tree = TREES[name]
    if name != "cli.py":
        assert not calls(tree, "print")
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path"]


@pytest.mark.parametrize("name", NAMES)
def test_no_bare_except_no_shell_and_no_code_from_data(name: str) -> None:
    tree = TREES[name]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("shell", "False") == "False", f"{name}: {ast.unparse(call)}"
        assert function not in ("eval", "exec", "os.system", "yaml.load", "pickle.load", "pickle.loads"), f"{name}: {function}"
        if function == "torch.load":
            assert given.get("weights_only") == "True", f"{name}: {ast.unparse(call)}"


@pytest.mark.parametrize("name", NAMES)
def test_public_functions_classes_and_modules_have_docstrings(name: str) -> None:
    tree = TREES[name]
    assert ast.get_docstring(tree), name
    silent = []
    outer: list[ast.AST] = [tree]
    while outer:
        for node in ast.iter_child_nodes(outer.pop()):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if not ast.get_docstring(node) and not any("overload" in ast.unparse(item) for item in node.decorator_list):
                    silent.append(node.name)
                if isinstance(node, ast.ClassDef):
                    outer.append(node)
    assert silent == [] or set(silent) == {"error"}, f"{name}: {silent}"


def test_files_stay_short_enough_to_be_read() -> None:
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in zip(NAMES, SOURCES, strict=True)}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}
    assert sum(lines <= 150 for lines in long.values()) > 0.8 * len(long)


def test_there_is_no_drawer_for_everything() -> None:
    assert not [name for name in NAMES if Path(name).stem in ("utils", "util", "helpers", "misc", "common")]
