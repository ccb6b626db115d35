"""What no message may tell: passwords in URLs, and the values that the environment keeps secret.

Every message of a ``GeosegError``, every record of the log and every line of a progress file goes
through ``redact``. What is a secret is told by the names of environment variables, by the form of
URLs, and by whoever calls ``hide``.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

SHORTEST = 6
"""Characters of the shortest secret: shorter ones would blacken half of every sentence."""

MARK = "***"

_NAMES = re.compile("SECRET|TOKEN|PASSWORD|AUTH|KEY", re.IGNORECASE)
_OURS = re.compile("GEOSEG_TLS_.*")
"""Files of certificates and keys, not what is in them."""
_USER = re.compile(r"([A-Za-z][\w+.-]*://)[^/\s@'\"]+@")
_QUERY = re.compile(
    r"([?&][^=&\s'\"]*(?:token|secret|password|auth|key|sig|credential)[^=&\s'\"]*=)[^&\s'\"]+",
    re.IGNORECASE,
)
_PLACE = re.compile(r"localhost|[\d.]+|(\w+://)?[\w.-]*:\d+|\w+://|--[a-z][a-z-]*")
"""What is set so often and tells so little that a message is worth more with it: addresses, and the
names of options."""
_hidden: set[str] = set()


def redact(text: str) -> str:
    """The text with each secret replaced by ``***``."""
    # The longest first: one may be a part of another.
    for secret in sorted({*_hidden, *_environment()}, key=len, reverse=True):
        text = text.replace(secret, MARK)
    return _QUERY.sub(rf"\1{MARK}", _USER.sub(rf"\1{MARK}@", text))


def redact_all(value: Any) -> Any:
    """A JSON value with each text in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(item) for key, item in value.items()}
    return [redact_all(item) for item in value] if isinstance(value, (list, tuple)) else value


def hide(value: Any) -> None:
    """Treat every text in a value (nested lists and mappings too) as a secret from now on.

    Addresses and files that are there are none.
    """
    if isinstance(value, str):
        if not _PLACE.fullmatch(value) and not os.path.exists(value):
            _hidden.update(_forms(value))
    elif isinstance(value, Mapping):
        hide(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            hide(item)


def _environment() -> Iterator[str]:
    """Values of the variables whose names say that they are secret."""
    for name, value in os.environ.items():
        secret = _NAMES.search(name) and not _OURS.fullmatch(name)
        if secret and not os.path.exists(value):  # the place of a key is no key
            yield from _forms(value)


def _forms(secret: str) -> Iterator[str]:
    """A secret, the password of ``user:password``, the name of ``name://``, and it as HTTP sends it."""
    encoded = base64.b64encode(secret.encode()).decode()
    for form in (secret, secret.strip(":/ "), secret.rpartition(":")[2], encoded):
        if len(secret) >= SHORTEST and len(form) >= SHORTEST:
            yield form
