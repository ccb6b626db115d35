"""Becomes a service of the stack: ``python -m geoseg.stack.launch FOLDER NAME``, for supervisord.

Thus passwords stand in one file, and not in supervisord's, in a command line, or in the environment
of a process that has no use for them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from geoseg.stack.services import environment_of, services
from geoseg.stack.settings import StackFolder, load


def launch(root: Path, name: str) -> None:
    """Replace this process by the service."""
    folder = StackFolder(root)
    settings = load(folder)
    if settings is None:
        sys.exit(f"{folder.settings} is gone; 'python -m geoseg.stack up' makes it")
    service = next(each for each in services(folder, settings) if each.name == name)
    # Started in the background of a shell (`make up &`) a process ignores Ctrl-C's signal, all that it
    # starts inherits that, and Prefect then could not cancel a run.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(service.command[0], service.command, environment_of(service, folder))


if __name__ == "__main__":
    launch(Path(sys.argv[1]), sys.argv[2])
