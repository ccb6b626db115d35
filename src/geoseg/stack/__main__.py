"""The command line of the local stack: ``python -m geoseg.stack up|down|run|status|logs|unit``."""

from __future__ import annotations

import argparse
import os
import sys

from geoseg.errors import GeosegError
from geoseg.io import logs
from geoseg.stack.boot import run
from geoseg.stack.lifecycle import down, status, up
from geoseg.stack.settings import StackError, StackFolder
from geoseg.stack.unit import unit

UNWELL = 3
EPILOG = """\
environment:
  GEOSEG_STATE            folder of the stack [.geoseg]
  GEOSEG_PREFECT_PORT     [4200]    GEOSEG_DASK_PORT [8786]    GEOSEG_DASHBOARD_PORT [8787]
  GEOSEG_DASK_WORKERS     Dask worker processes [2]
  GEOSEG_RUNS             maps at once [2]; one training has a place besides
  GEOSEG_DATABASE         postgresql://user:password@host/database for Prefect [SQLite]
  GEOSEG_WEBHOOK          URL that gets a POST for each run that fails
What 'up' was once given is kept for the next time, in a file that only you can read; so are GEOSEG_ROOTS,
GEOSEG_LEDGER, AWS_... and others that runs need. NAME= forgets one.

examples:
  python -m geoseg.stack up
  GEOSEG_PREFECT_PORT=5200 GEOSEG_DASK_PORT=9786 GEOSEG_DASHBOARD_PORT=9787 python -m geoseg.stack up
  python -m geoseg.stack status
  python -m geoseg.stack logs prefect-worker
  python -m geoseg.stack down --drain
  python -m geoseg.stack unit > ~/.config/systemd/user/geoseg.service
  python -m geoseg.stack unit --system geoseg | sudo tee /etc/systemd/system/geoseg.service

exit codes: 0 done and healthy, or ('run') stopped as told; 2 a mistake, or a service that does not start
or stop, explained in one message, or ('run') supervisord died; 3 ('status') not all services are healthy
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m geoseg.stack",
        description="Prefect server and worker, Dask scheduler and workers as processes of this "
        "machine, reachable from it alone and started again when they die.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="start what does not run; returns when all is healthy")
    stop = commands.add_parser("down", help="stop everything")
    stop.add_argument("--drain", action="store_true", help="first let the runs under way end")
    commands.add_parser("run", help="'up', then stay until 'down', SIGTERM or Ctrl-C")
    commands.add_parser("status", help="each service, and whether it is healthy")
    logs = commands.add_parser("logs", help="the end of the logs, and what comes; Ctrl-C ends it")
    logs.add_argument("service", nargs="?", default="", help="one service [all]")
    boot = commands.add_parser("unit", help="print the systemd unit that starts the stack at boot")
    boot.add_argument(
        "--system", nargs="?", const="", metavar="USER",
        help="for the machine's systemd, run as USER [you]; else for that of your user",
    )  # fmt: skip
    return parser.parse_args()


def _logs(folder: StackFolder, service: str) -> None:
    """Become ``tail``."""
    files = [str(path) for path in sorted(folder.logs.glob(f"{service}*.log"))]
    if not files:
        raise StackError(
            f"{folder.logs}: no log {service or 'of a stack'} there; 'make up' starts one"
        )
    os.execvp("tail", ["tail", "-n", "40", "-F", *files])


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Do what the command says; returns the exit code."""
    logs.show_any_letter()
    given, folder = _arguments(), StackFolder.of_environment()
    if given.command == "up":
        up(folder, _say)
    elif given.command == "run":
        run(folder, _say)
    elif given.command == "down":
        down(folder, _say, given.drain)
    elif given.command == "unit":
        print(unit(folder, given.system), end="")
    elif given.command == "logs":
        _logs(folder, given.service)
    else:
        lines, well = status(folder)
        for line in lines:
            _say(line)
        return 0 if well else UNWELL
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GeosegError as error:
        print(f"geoseg: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("geoseg: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
