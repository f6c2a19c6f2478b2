"""`python -m pipelines`: compile, run here, and what needs a cluster."""

import argparse
import inspect
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cavmae.errors import InputError, Interrupted, StepFailed
from cavmae.params import default_params_path

NAMES = ("cavmae-pretrain", "cavmae-finetune", "cavmae-retrain")  # as in pipelines.build, which is slow to import


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the words it was given."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` shows what there is")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 for wrong input, 1 for a failure."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options = _parser().parse_args(words)
        return int(options.handle(options))
    except (InputError, StepFailed, Interrupted) as error:
        print(f"pipelines: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pipelines: stopped; run the same command to continue", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    from pipelines.remote_cli import add_commands

    parser = _Parser(prog="python -m pipelines", description="Kubeflow pipelines: compile, run here, submit, schedule.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    compiling = commands.add_parser("compile", help="write the files that Kubeflow takes, one for each pipeline")
    compiling.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    compiling.set_defaults(handle=_compile)
    fields = commands.add_parser("fields", help="show the fields of a pipeline's form with their defaults")
    fields.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    fields.set_defaults(handle=_fields)
    running = commands.add_parser("run", help="run a pipeline to its end on this machine")
    running.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    running.add_argument("-p", action="append", default=[], metavar="KEY=VALUE", dest="arguments", help="set a field of the form")
    running.add_argument("--runner", choices=("subprocess", "docker"), default="subprocess", help="processes, or containers")
    running.add_argument("--work", type=Path, metavar="DIR", help="folder for artifacts, cache, shards and registry")
    running.add_argument(
        "--mount", action="append", default=[], type=Path, metavar="DIR", help="another folder that containers may read"
    )
    running.add_argument("--no-cache", action="store_true", help="run every task, also those whose input did not change")
    running.set_defaults(handle=_run)
    for command in (compiling, running, fields):
        add_sources(command)
    checking = commands.add_parser("check", help="look for faults in compiled pipelines and in manifests")
    checking.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="compiled pipeline, or folder of manifests")
    checking.set_defaults(handle=_check)
    add_commands(commands)
    return parser


def add_sources(command: argparse.ArgumentParser) -> None:
    """Add the options that say what a pipeline is compiled from."""
    command.add_argument("--settings", type=Path, metavar="FILE", help="what the cluster needs (default pipelines/settings.yaml)")
    command.add_argument("--params", type=Path, default=default_params_path(), metavar="FILE", help="parameter file")


def _compile(options: argparse.Namespace) -> int:
    from pipelines.build import NAMES, compile_pipeline
    from pipelines.commit import image_tag
    from pipelines.settings import read_settings
    from pipelines.site import with_tag

    settings = with_tag(read_settings(options.settings), image_tag)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {options.out}: cannot be made a folder to write to ({error.strerror})") from None
    for name in NAMES:
        print(compile_pipeline(name, options.out, settings, options.params))
    return 0


def _fields(options: argparse.Namespace) -> int:
    from pipelines.build import fields
    from pipelines.settings import read_settings

    for name, field in fields(options.name, read_settings(options.settings), options.params).items():
        print(f"{name:<22} {type(field.default).__name__:<6} {field.default!s:<22} {field.help}".rstrip())
    return 0


def _check(options: argparse.Namespace) -> int:
    from pipelines.check import check_ir
    from pipelines.manifests import check_manifests

    faults = 0
    for path in options.paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        found = check_manifests(path) if path.is_dir() else check_ir(path)
        print("\n".join(f"{path}: {fault}" for fault in found) or f"{path}: in order")
        faults += len(found)
    if faults:
        raise StepFailed(f"{faults} fault{'s' if faults > 1 else ''} found")
    return 0


def _run(options: argparse.Namespace) -> int:
    from pipelines.arguments import kinds_of, parse_arguments
    from pipelines.build import build, check_values, function_of
    from pipelines.commit import code_tag, image_tag
    from pipelines.local_runs import checked_work, default_work, local_settings, run_here
    from pipelines.settings import read_settings
    from pipelines.site import with_tag

    work = checked_work(options.work or default_work(), options.runner)
    tag = image_tag if options.runner == "docker" else code_tag
    settings = with_tag(local_settings(read_settings(options.settings), work), tag)
    function = function_of(options.name, settings, options.params)
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    arguments = {**defaults, **parse_arguments(options.arguments, kinds_of(function), options.name)}
    check_values(options.name, arguments, options.params)
    if missing := [folder for folder in options.mount if not folder.is_dir()]:
        raise InputError(f"--mount {missing[0]}: no such folder")
    pipeline = build(options.name, settings, options.params)
    cached = not options.no_cache
    if options.runner == "docker" and settings.images.train.endswith("-dirty"):
        cached = False  # the name says nothing of what was changed
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the task that is running is stopped as well
    made = run_here(pipeline, options.name, arguments, options.runner, settings, work, cached, options.mount)
    print(f"{options.name}: done; what its tasks made lies in {made}")
    return 0
