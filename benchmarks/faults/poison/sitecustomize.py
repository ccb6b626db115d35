"""Python runs this first in every process with this folder on its path: one block kills its worker.

The block is named in ``GEOSEG_FAULTS_POISON``. The engine's module is patched as it is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MODULE = "geoseg.engine.block"


class Poisoner(MetaPathFinder):
    """Finds the engine's module where it is, and adds a line to how it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        spec = PathFinder.find_spec(name, path) if name == MODULE else None
        if spec and spec.loader:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _poison(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _poison(module: Any) -> None:
    predict = module._predict

    def poisoned(place: Any, block: Any, *others: Any) -> Any:
        if block.id == os.environ.get("GEOSEG_FAULTS_POISON"):
            os.kill(os.getpid(), signal.SIGKILL)
        return predict(place, block, *others)

    module._predict = poisoned


sys.meta_path.insert(0, Poisoner())
