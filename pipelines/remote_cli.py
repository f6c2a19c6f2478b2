"""The commands of `python -m pipelines` that speak to a Kubeflow: submit, schedule, status, cancel."""

import argparse
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cavmae.errors import InputError

if TYPE_CHECKING:
    from pipelines.kubeflow import Kubeflow
    from pipelines.package import Package
    from pipelines.runs import Run

_LOG = logging.getLogger(__name__)
_EVERY_S = 15.0
_LISTED = 20
_KUBEFLOWS_OWN = re.compile(r"root|.*-driver|executor(\([0-9]+\))?")  # its tasks between those of the pipeline


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the four commands; each sets `handle`, which takes the parsed options and returns the exit code."""
    from pipelines.access import add_access_options

    submit = _command(commands, "submit", _submit, "start a run in Kubeflow")
    _add_package_options(submit)
    submit.add_argument("--run-name", metavar="NAME", help="name of the run; a second submission under it finds the first")
    _add_waiting(submit)
    schedule = _command(commands, "schedule", _schedule, "run a pipeline again and again, or change or end that")
    _add_package_options(schedule)
    schedule.add_argument("--schedule-name", metavar="NAME", help="name of the schedule (default: that of the pipeline)")
    schedule.add_argument("--cron", metavar="CRON", help='when: "0 3 * * *" for every day at 3, by the clock of Kubeflow')
    schedule.add_argument("--max-concurrency", type=int, default=1, metavar="N", help="runs at once, 1 to 10 (default 1)")
    schedule.add_argument(
        "--no-catchup", action="store_true", help="of several firings that were missed, make up for the last only"
    )
    schedule.add_argument("--off", action="store_true", help="no more runs; those that are there go on")
    status = _command(commands, "status", _status, "show the latest runs, or one with its tasks")
    status.add_argument("run_id", nargs="?", metavar="RUN_ID")
    _add_waiting(status)
    cancel = _command(commands, "cancel", _cancel, "end a run")
    which = cancel.add_mutually_exclusive_group(required=True)
    which.add_argument("run_id", nargs="?", metavar="RUN_ID")
    which.add_argument("--run-name", metavar="NAME", help="the newest run of this name, in place of an id")
    for command in (submit, schedule, status, cancel):
        command.add_argument("--json", action="store_true", help="print JSON")
        add_access_options(command)


def _command(
    commands: "argparse._SubParsersAction[Any]", name: str, handle: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    command.set_defaults(handle=handle)
    return command


def _add_package_options(command: argparse.ArgumentParser) -> None:
    from pipelines.cli import NAMES, add_sources

    command.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    command.add_argument(
        "-p",
        dest="values",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a parameter; dvc:PATH@REV for what DVC tracks",
    )
    command.add_argument("--experiment", metavar="NAME", help="experiment that runs stand in (default: name of the pipeline)")
    add_sources(command)
    for key in ("data", "train"):
        command.add_argument(f"--image-{key}", metavar="IMAGE", help=f"image `{key}`, in place of that of the settings")


def _add_waiting(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--wait", action="store_true", help="until the run is over; exit code 1 where it failed or was cancelled"
    )
    command.add_argument(
        "--every", type=_seconds, default=_EVERY_S, metavar="SECONDS", help=f"how often to ask (default {_EVERY_S:g})"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def _submit(options: argparse.Namespace) -> int:
    from pipelines.package import settle_values
    from pipelines.submission import experiment_id, start_run, upload

    api = _api(options)
    with _package(options) as package:
        values, notes = settle_values(package, options.values, Path.cwd())
        uploaded = upload(api, package)
    experiment = experiment_id(api, options.experiment or options.name)
    run_id, before = start_run(api, uploaded, experiment, options.run_name, package, values, notes)
    _LOG.info("version %s of %s%s", package.version, options.name, "".join(f"; {note}" for note in notes))
    if before:
        _LOG.warning("a run %r with these parameters was submitted before; nothing was started", options.run_name)
    if options.wait:
        return _waited(api, run_id, options)
    page = api.page("runs", run_id)
    _LOG.info("%s", page)
    print(json.dumps({"run_id": run_id, "page": page, "submitted_before": before}) if options.json else run_id)
    return 0


def _schedule(options: argparse.Namespace) -> int:
    from pipelines.cron import normal_cron
    from pipelines.package import settle_values
    from pipelines.schedules import Plan, schedule, switch_off
    from pipelines.submission import experiment_id, upload

    name = options.schedule_name or options.name
    if options.off == (options.cron is not None):
        raise InputError("give --cron with the times, or --off")
    api = _api(options)
    if options.off:
        found = switch_off(api, name)
        print(json.dumps({"schedule": name, "off": found}) if options.json else f"{name}: off")
        return 0
    plan = Plan(normal_cron(options.cron), options.max_concurrency, catch_up=not options.no_catchup)
    if plan.cron != options.cron.strip():
        _LOG.info("cron %r is %r in Kubeflow, seconds first", options.cron, plan.cron)
    with _package(options) as package:
        values, notes = settle_values(package, options.values, Path.cwd())
        uploaded = upload(api, package)
    experiment = experiment_id(api, options.experiment or options.name)
    identifier, before = schedule(api, name, plan, uploaded, experiment, package, values, notes)
    page = api.page("recurringrun", identifier)
    _LOG.info("%s: %s; %s", name, "was so already" if before else plan.cron, page)
    print(json.dumps({"recurring_run_id": identifier, "page": page, "unchanged": before}) if options.json else identifier)
    return 0


def _status(options: argparse.Namespace) -> int:
    from pipelines.runs import latest_runs, look_up

    if options.wait and options.run_id is None:
        raise InputError("--wait needs a RUN_ID")
    api = _api(options)
    if options.run_id is None:
        runs = latest_runs(api, _LISTED)
        print(json.dumps([run.document() for run in runs], indent=2) if options.json else _listing(runs))
        return 0
    if options.wait:
        return _waited(api, options.run_id, options)
    run = look_up(api, options.run_id)
    _show(run, options)
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from pipelines.runs import cancel, id_of_name

    api = _api(options)
    run = cancel(api, options.run_id or id_of_name(api, options.run_name))
    _show(run, options)
    return 0


def _waited(api: "Kubeflow", run_id: str, options: argparse.Namespace) -> int:
    from pipelines.runs import wait_for

    try:
        run = wait_for(api, run_id, options.every)
    except KeyboardInterrupt:
        _LOG.warning("run %s goes on; `python -m pipelines cancel %s` ends it", run_id, run_id)
        return 130
    _show(run, options)
    return 1 if run.failed else 0


def _api(options: argparse.Namespace) -> "Kubeflow":
    from pipelines.access import connect
    from pipelines.kubeflow import Kubeflow

    return Kubeflow(*connect(options))


@contextmanager
def _package(options: argparse.Namespace) -> "Iterator[Package]":
    """The compiled pipeline, in a folder that is gone afterwards."""
    from pipelines.access import ca_file
    from pipelines.package import make_package
    from pipelines.settings import read_settings

    images = {"data": options.image_data, "train": options.image_train}
    with tempfile.TemporaryDirectory(prefix="cavmae-") as folder:
        settings = read_settings(options.settings)
        yield make_package(options.name, settings, images, Path(folder), options.params, ca_file(options))


def _show(run: "Run", options: argparse.Namespace) -> None:
    print(json.dumps(run.document(), indent=2) if options.json else _page(run))


def _listing(runs: list["Run"]) -> str:
    if not runs:
        return "no runs"
    return "\n".join(f"{run.run_id}  {run.state.lower():<9}  {run.created:<20}  {run.name}" for run in runs)


def _page(run: "Run") -> str:
    """The run in a few lines, then its tasks. Kubeflow's own are left out unless something is known to be wrong with them."""
    lines = [f"{run.name}: {run.state.lower()}", f"run {run.run_id}, created {run.created or 'at an unknown time'}", run.page]
    if run.error:
        lines.append(f"error: {run.error}")
    shown = [task for task in run.tasks if task.error or not _KUBEFLOWS_OWN.fullmatch(task.name)]
    width = max((len(task.name) for task in shown), default=0)
    for task in shown:
        lines.append(f"  {task.name:<{width}}  {task.state.lower():<9}  {task.error}".rstrip())
    for pod, log in run.logs.items():
        lines += [f"the end of the log of {pod}:", *(f"  {line}" for line in log)]
    return "\n".join(lines)
