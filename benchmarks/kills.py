"""What kills cost: `make demo` is killed at random moments until it comes through, and compared with one that was left alone.

    python -m benchmarks.kills [--kills 10] [--who all] [--signal KILL] [--after 5 40] [--seed 0] [--right DIR] [--json FILE]

Works in copies of this working tree (`--folder`, default a temporary one) with the environment that `make setup` made. `--who` is
whom the signal hits: `group` (all processes at once), `make`, `dvc`, `cavmae`, or `all`: each in turn. Ends with 1 where a file
differs. `--right` names a copy in which `make demo` went through undisturbed, instead of running one first.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cavmae.storage import sha256_file, write_json

REPOSITORY = Path(__file__).resolve().parents[1]
WHO = ("group", "cavmae", "dvc", "make")
OUTPUTS = ("data", "models", "metrics", "reports")
UNLIKE = {"run.json"}  # who ran what, and when


def copy(folder: Path, environment: Path) -> Path:
    """Make a copy of the working tree, with the environment that is here already."""
    folder.mkdir(parents=True)
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    (folder / ".venv").symlink_to(environment)
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start `make demo` as the leader of a process group of its own; its words go to the file `log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ["make", "demo", "--old-file", ".venv/.installed"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def members(leader: int, who: str) -> list[int]:
    """The processes of a group that are `who`."""
    if who == "make":
        return [leader]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if os.getpgid(int(entry.name)) == leader and any(Path(os.fsdecode(word)).name == who for word in words[:2]):
                    found.append(int(entry.name))
            except (OSError, ProcessLookupError):
                continue
    return found


def strike(process: subprocess.Popen[bytes], who: str, how: signal.Signals) -> bool:
    """Send the signal; tell whether anyone was there to be hit."""
    try:
        if who == "group":
            os.killpg(process.pid, how)
            return True
        victims = members(process.pid, who)
        for victim in victims:
            os.kill(victim, how)
        return bool(victims)
    except ProcessLookupError:
        return False


def killed(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Kill `make demo` as often as asked, then let it go through; return what was done when."""
    lot, done = random.Random(options.seed), []
    how = signal.Signals[f"SIG{options.signal}"]
    while True:
        process, began = start(folder), time.monotonic()
        if len(done) == options.kills:
            code = process.wait()
            print(f"the last run: {time.monotonic() - began:.0f} s, exit code {code}", flush=True)
            done.append({"who": "nobody", "seconds": round(time.monotonic() - began, 1), "code": code})
            return done
        who = WHO[len(done) % len(WHO)] if options.who == "all" else options.who
        after = lot.uniform(*options.after)
        while time.monotonic() - began < after and process.poll() is None:
            time.sleep(0.01)
        hit = False
        while not hit and process.poll() is None:  # between two stages there may be nobody of that name
            hit = strike(process, who, how)
            time.sleep(0.01)
        code = process.wait()
        print(
            f"{len(done) + 1}: {how.name} to {who} after {after:.1f} s: {'hit' if hit else 'it was done'}, code {code}",
            flush=True,
        )
        done.append({"who": who, "seconds": round(after, 1), "hit": hit, "code": code})


def different(left: Path, right: Path) -> list[str]:
    """The outputs in which two copies differ."""
    files = {
        path.relative_to(root)
        for root in (left, right)
        for top in OUTPUTS
        for path in (root / top).rglob("*")
        if path.is_file() and path.name not in UNLIKE
    }
    wrong = []
    for name in sorted(files):
        both = [root / name for root in (left, right)]
        if not all(path.is_file() for path in both) or sha256_file(both[0]) != sha256_file(both[1]):
            wrong.append(name.as_posix())
    print(f"{len(files)} files compared, {len(wrong)} differ")
    return wrong


def main() -> int:
    """Kill, run, compare; return 1 where something differs."""
    parser = argparse.ArgumentParser(prog="benchmarks.kills", description="Kill `make demo` at random; compare what comes out.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--who", choices=("all", *WHO), default="all")
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT"), default="KILL")
    parser.add_argument("--after", type=float, nargs=2, default=(5.0, 40.0), metavar="SECONDS", help="earliest and latest kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="new folder to work in")
    parser.add_argument("--right", type=Path, help="copy in which `make demo` went through undisturbed")
    parser.add_argument("--environment", type=Path, default=REPOSITORY / ".venv", help="virtual environment")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    if not (options.environment / "bin" / "dvc").exists():
        print("benchmarks.kills: there is no environment; run `make setup` first", file=sys.stderr)
        return 2
    folder = options.folder or Path(tempfile.mkdtemp(prefix="cavmae-kills-"))
    right, wrong_folder = options.right, copy(folder / "killed", options.environment)
    if right is None:
        right = copy(folder / "undisturbed", options.environment)
        began = time.monotonic()
        if code := start(right).wait():
            print(f"benchmarks.kills: the undisturbed run ended with {code}; see {right}/log", file=sys.stderr)
            return 1
        print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    done = killed(wrong_folder, options)
    wrong = different(wrong_folder, right)
    lines = (wrong_folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    resumed = [line for line in lines if line.startswith("resumed at step")]
    print(f"{len(resumed)} times: {', '.join(line.rpartition(' ')[2] for line in resumed)} were the steps resumed at")
    for name in wrong:
        print(f"differs: {name}")
    if options.json is not None:
        figures = {"kills": done, "resumed": resumed, "differ": wrong, "seconds": round(time.monotonic() - began, 1)}
        write_json(options.json, figures)
    return int(bool(wrong) or done[-1]["code"] != 0)


if __name__ == "__main__":
    sys.exit(main())
