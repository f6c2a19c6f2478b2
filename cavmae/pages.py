"""The commands of `cavmae` that are no steps: what each takes, and the text that it shows."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from cavmae.errors import InputError
from cavmae.params import default_params_path

_REGISTRY = "models/registry"
_DATASET = "data/validated"
_MODEL = "models/final"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words it was given."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` shows what there is")


@dataclass(frozen=True)
class Page:
    """A command: its summary, what adds its options, and what returns its text; with a sentence behind it where it failed."""

    name: str
    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    text: Callable[[argparse.Namespace], str | tuple[str, str | None]]

    def parser(self) -> Parser:
        """Return the command's own parser."""
        made = Parser(prog=f"cavmae {self.name}", description=self.summary, allow_abbrev=False)
        self.add_options(made)
        return made

    def show(self, words: Sequence[str]) -> tuple[str, str | None]:
        """Return what the command shows for the words behind its name, and why it failed, None where it did not."""
        found = self.text(self.parser().parse_args(words))
        return found if isinstance(found, tuple) else (found, None)


def _results_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metrics", type=Path, metavar="FILE", help="file that `evaluate` wrote (default metrics/evaluation.json)"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="report whose path is shown (default reports/report.html)")
    parser.add_argument("--recipe", help="compare with the numbers that a recipe must give, in the files that it names")


def _results(options: argparse.Namespace) -> str:
    from cavmae.recipes import read_recipe
    from cavmae.results import results_page

    return results_page(options.metrics, options.report, read_recipe(options.recipe) if options.recipe is not None else None)


def _recipes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RECIPE", help="show one: a name or a path")
    parser.add_argument(
        "--params", type=Path, default=default_params_path(), metavar="FILE", help="parameter file to check against"
    )


def _recipes(options: argparse.Namespace) -> str:
    from cavmae.recipe_pages import recipe_page, recipe_table
    from cavmae.recipes import read_recipe

    return recipe_table() if options.name is None else recipe_page(read_recipe(options.name), options.params)


def _history_options(parser: argparse.ArgumentParser) -> None:
    _add_registry(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _history(options: argparse.Namespace) -> str:
    from cavmae.registry_pages import history_page

    return history_page(options.registry, options.json)


def _rollback_options(parser: argparse.ArgumentParser) -> None:
    _add_registry(parser)
    parser.add_argument("--to", metavar="VERSION", help="version that was champion, or its first digits (default: the last one)")
    parser.add_argument("--reason", required=True, type=_sentence, metavar="TEXT", help="why; the history keeps it")
    parser.add_argument("--run-id", type=_sentence, metavar="ID", help="a second call by the same id changes nothing")
    parser.add_argument("--wait-s", type=float, default=60.0, metavar="S", help="how long to wait for others (default 60)")


def _rollback(options: argparse.Namespace) -> str:
    from cavmae.registry_pages import rollback_page

    return rollback_page(options.registry, options.to, options.reason, options.run_id, options.wait_s)


def _data_options(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    diff = what.add_parser("diff", help="what became of the clips between two versions", allow_abbrev=False)
    kinds = "git revision, folder, s3://bucket/prefix, or object of a DVC remote"
    diff.add_argument("before", metavar="BEFORE", help=f"older version: {kinds}")
    diff.add_argument("now", nargs="?", default=_DATASET, metavar="NOW", help=f"newer version (default: the folder {_DATASET})")
    diff.add_argument("--show", type=int, default=20, metavar="N", help="clips to show of each kind (default 20)")
    diff.add_argument("--json", action="store_true", help="print all of it as JSON")
    version = what.add_parser("version", help="16 digits that change when the sources do", allow_abbrev=False)
    version.add_argument("--params", type=Path, default=default_params_path(), metavar="FILE", help="file that names the sources")
    version.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a parameter of ingest: source=s3://bucket/videos"
    )


def _data(options: argparse.Namespace) -> str:
    from cavmae.data_pages import diff_page, version_page

    if options.what == "version":
        return version_page(options.params, options.set)
    return diff_page(options.before, options.now, max(options.show, 0), options.json)


def _audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", type=Path, default=Path(_MODEL), metavar="MODEL", help=f"model folder (default {_MODEL})"
    )
    parser.add_argument("--dataset", type=Path, default=Path(_DATASET), metavar="DIR", help=f"data set (default {_DATASET})")
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="parameter file (default ./params.yaml)"
    )
    parser.add_argument("--registry", metavar="PLACE", help=f"registry (default {_REGISTRY}, where it is there)")
    parser.add_argument("--clip", metavar="ID", help="list instead what used a clip: its id, name, path or group")
    parser.add_argument(
        "--store", metavar="PLACE", help="with --clip: where shards lie (extract.store); default: where the data set says"
    )
    parser.add_argument("--no-sources", action="store_true", help="do not read the videos")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page as well")


def _audit(options: argparse.Namespace) -> tuple[str, str | None]:
    from cavmae.audit_pages import audit_page, usage_page

    registry = options.registry or (_REGISTRY if Path(_REGISTRY).is_dir() else None)
    if options.clip is not None:
        if options.html is not None:
            raise InputError("--html is the page of a model's audit, --clip has none; leave one of them out (--json prints JSON)")
        return usage_page(options.clip, options.dataset, Path("models"), registry, options.store, options.json)
    if options.store is not None:
        raise InputError("--store is where --clip looks for earlier data; an audit of a model finds its shards by the data set")
    return audit_page(
        options.model, options.dataset, options.params, registry, not options.no_sources, options.json, options.html
    )


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry", default=_REGISTRY, metavar="PLACE", help=f"folder or s3://bucket/prefix (default {_REGISTRY})"
    )


def _sentence(text: str) -> str:
    if not (0 < len(text) <= 200 and text.isprintable()):
        raise argparse.ArgumentTypeError("give 1 to 200 printable characters")
    return text


PAGES = {
    page.name: page
    for page in (
        Page(
            "results",
            "Show the figures that `evaluate` wrote as a table, and hold them against a recipe's.",
            _results_options,
            _results,
        ),
        Page("recipes", "List the recipes for published results, or show one with its commands.", _recipes_options, _recipes),
        Page(
            "history",
            "Show what a registry went through: promotions, decisions to keep, rollbacks, the champion.",
            _history_options,
            _history,
        ),
        Page("audit", "Prove where a model comes from: work out every hash again that can be reached.", _audit_options, _audit),
        Page("data", "Compare two versions of the data, or tell the version of its sources.", _data_options, _data),
        Page("rollback", "Make an earlier champion of a registry the champion again.", _rollback_options, _rollback),
    )
}
