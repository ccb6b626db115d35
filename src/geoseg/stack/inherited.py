"""What the services take over from whoever starts the stack; a start at boot has to know it again."""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEPT = re.compile(
    r"(GEOSEG|AWS|GDAL|CPL|DASK|PREFECT_LOGGING)_\w+|PG[A-Z]+|CUDA_VISIBLE_DEVICES|TMPDIR|SCRATCH|WORK"
    r"|(?i:(https?|all|no)_proxy)|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE"
)
"""What geoseg, or a library that it calls, reads: where it may look, how it gets there, how it logs."""
_ELSEWHERE = re.compile(
    # The stack's own settings, Prefect's block, and what the stack tells its services itself.
    r"GEOSEG_(STATE|DATABASE|RUNS|DASK_WORKERS|\w+_PORT|WEBHOOK|SCHEDULER|TLS_\w+|STACK_MEMBER)"
)
_PASSING = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def inherited(environment: Mapping[str, str], last: Mapping[str, str]) -> dict[str, str]:
    """Variables for this start and the next: those of the last start, where ``environment`` has none.

    One that is set to nothing is forgotten.
    """
    given = {name: value for name, value in environment.items() if _is_kept(name)}
    if any(name.startswith("AWS_") for name in given):
        # They go together: old keys would hide a new profile.
        last = {name: value for name, value in last.items() if not name.startswith("AWS_")}
    if given.get("AWS_SESSION_TOKEN"):  # it and its keys run out within hours
        given = {name: value for name, value in given.items() if name not in _PASSING}
    return {name: value for name, value in {**last, **given}.items() if value}


def _is_kept(name: str) -> bool:
    return bool(_KEPT.fullmatch(name)) and not _ELSEWHERE.fullmatch(name)
