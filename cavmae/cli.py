"""`cavmae <step>`: commands built from the steps' descriptions; their knobs and defaults are those of params.yaml."""

import argparse
import inspect
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import yaml

from cavmae import __version__, steps
from cavmae.errors import InputError, Interrupted, StepFailed, explain
from cavmae.locking import alone
from cavmae.pages import PAGES, Parser
from cavmae.params import default_params_path, knobs, load_section
from cavmae.recipes import read_recipe
from cavmae.runlog import recorded
from cavmae.steps import Step
from cavmae.storage import remove_leftovers

_NONE = "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 for wrong input, 1 for a failure, 75 for a run that was asked to stop, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in given if not word.startswith("-")), "")
    # read when torch loads: threads that spin for long while they wait starve each other where the machine is shared
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("cavmae").setLevel(logging.INFO)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    try:
        if name in PAGES:
            text, failure = PAGES[name].show(given[given.index(name) + 1 :])
            print(text)
            if failure is not None:
                raise StepFailed(failure)
            return 0
        options = _parser(name, _params_path(given)).parse_args(given)
        if options.verbose:
            logging.getLogger("cavmae").setLevel(logging.DEBUG)
        return _run(steps.load(options.step), options)
    except (InputError, StepFailed, Interrupted) as error:
        print(f"{f'cavmae {name}'.strip()}: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left, as `| head` does
        return 0
    except OSError as error:
        print(f"cavmae {name}: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"cavmae {name}: stopped; run the same command to continue", file=sys.stderr)
        return 130


def _run(step: Step, options: argparse.Namespace) -> int:
    overrides = [
        f"{key}={_as_yaml(step, key, getattr(options, _knob(key)))}"
        for key in _flags(step, options.params)
        if getattr(options, _knob(key)) is not None
    ]
    overlay = None
    if options.recipe is not None:
        recipe = read_recipe(options.recipe)
        recipe.check(options.params)  # all of it, lest a later step stumbles after days of work
        overlay = recipe.overlay(step.name)
        if overlay is None:
            logging.getLogger(__name__).info("%s: recipe %s sets nothing for this step", step.name, recipe.name)
    params = load_section(step.params, step.name, options.params, [*overrides, *options.set], overlay)
    paths: dict[str, Any] = {}
    for artifact in (*step.inputs, *step.outputs):
        value = getattr(options, artifact.name)
        if artifact.many:
            paths[artifact.name] = [Path(item) for item in value]
        elif artifact.optional and (value == _NONE or (value is None and not Path(artifact.path).exists())):
            paths[artifact.name] = None
        else:
            paths[artifact.name] = artifact.place(artifact.path if value is None else value)
    for artifact in step.outputs:
        place = paths[artifact.name]
        if place is not None and Path(artifact.path).suffix and Path(place).is_dir():
            raise InputError(f"{_flag(artifact.name)} {place}: is a folder; name a file")
    outputs = {artifact.name: str(paths[artifact.name]) for artifact in step.outputs}
    with _undisturbed(step.name, outputs), recorded(step.name, outputs):
        result = step.run(params, paths)
    if step.present is not None:
        print(step.present(result, params))
    failure: Callable[[], str | None] | None = getattr(result, "failure", None)
    if failure is not None and (sentence := failure()):
        raise StepFailed(sentence)
    return 0


@contextmanager
def _undisturbed(step: str, outputs: Mapping[str, str]) -> Iterator[None]:
    """Wait while an equal command writes the same outputs, then clear away what a killed one left beside them."""
    with ExitStack() as stack:
        if outputs and os.environ.get("RANK", "0") == "0":  # of several processes that a launcher started the first writes
            stack.enter_context(alone(step, *(os.path.abspath(place) for place in outputs.values())))
            for place in map(Path, outputs.values()):
                remove_leftovers(place.parent, name=place.name)
        yield


def _parser(name: str, params: Path) -> argparse.ArgumentParser:
    parser = Parser(prog="cavmae", description="From videos to a model that understands them by sight and sound.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    for step in map(steps.load, steps.NAMES):
        command = commands.add_parser(
            step.name,
            help=step.summary,
            description=inspect.getdoc(step.function),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if step.name == name:
            _add_options(command, step, params)
    for page in PAGES.values():
        commands.add_parser(page.name, help=page.summary)
    return parser


def _add_options(command: argparse.ArgumentParser, step: Step, params: Path) -> None:
    files = command.add_argument_group("files and folders")
    for artifact in (*step.inputs, *step.outputs):
        if artifact.positional:
            count = None if not artifact.many else "*" if artifact.optional else "+"
            files.add_argument(artifact.name, nargs=count, metavar=artifact.path, help=artifact.help)
            continue
        note = f"default {artifact.path}" + (f", where it is there; `{_NONE}` leaves it out" if artifact.optional else "")
        files.add_argument(_flag(artifact.name), dest=artifact.name, metavar="PATH", help=f"{artifact.help} ({note})")
    command.add_argument("--params", type=Path, default=params, metavar="FILE", help=f"parameter file (default {params})")
    command.add_argument("--recipe", metavar="RECIPE", help="recipe whose values stand over those of the file: a name or a path")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set a parameter, also one inside a group: model.depth=3"
    )
    command.add_argument("--verbose", action="store_true", help="say more")
    group = command.add_argument_group(f"parameters (section `{step.name}` of {params})")
    for key, (default, comment) in _flags(step, params).items():
        shown = f"{comment} (default {_yaml(default)})".replace("%", "%%")
        group.add_argument(_flag(key), dest=_knob(key), metavar="VALUE", help=shown)


def _flags(step: Step, params: Path) -> dict[str, tuple[Any, str]]:
    """The knobs that get a flag of their own: those that stand in no group."""
    found = knobs(step.name, params)
    return {key: value for key, value in found.items() if "." not in key and key in step.params.model_fields}


def _params_path(given: Sequence[str]) -> Path:
    for position, word in enumerate(given):
        if word == "--params" and position + 1 < len(given):
            return Path(given[position + 1])
        if word.startswith("--params="):
            return Path(word.partition("=")[2])
    return default_params_path()


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _knob(key: str) -> str:
    return f"knob_{key}"


def _yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _as_yaml(step: Step, key: str, word: str) -> str:
    """The YAML that stands for a flag's word: a name or a path is text, whatever YAML would read into it."""
    kind = step.params.model_fields[key].annotation
    if kind is not str and (word == "null" or set(get_args(kind)) != {str, type(None)}):
        return word
    return yaml.safe_dump(word, width=sys.maxsize)
