"""Certificates for everything that Dask says over a network."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.config import TlsConfig
from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Security

_VARIABLES = {"ca_file": "GEOSEG_TLS_CA", "cert": "GEOSEG_TLS_CERT", "key": "GEOSEG_TLS_KEY"}


def of_environment() -> TlsConfig | None:
    """The certificates that ``GEOSEG_TLS_CA``, ``_CERT`` and ``_KEY`` name; None without them.

    Raises ``ConfigError`` where only some are set.
    """
    given = {key: os.environ.get(name, "") for key, name in _VARIABLES.items()}
    if not any(given.values()):
        return None
    for key, path in given.items():
        if not path:
            raise ConfigError(
                f"{_VARIABLES[key]}: not set, though others of {', '.join(_VARIABLES.values())} are; "
                "set all three, or none"
            )
    return TlsConfig(**{key: Path(path) for key, path in given.items()})


def security(tls: TlsConfig | None) -> Security:
    """The certificates as Dask wants them; without ``tls`` those of Dask's own configuration.

    Raises ``ConfigError`` where a file is missing, is no certificate, or the key is of another.
    """
    from distributed import Security  # noqa: PLC0415

    if tls is None:
        return Security()
    for name in ("ca_file", "cert", "key"):
        path = getattr(tls, name)
        if not path.is_file():
            raise ConfigError(f"cluster.tls.{name}: {path} is not a file; see docs/clusters.md")
    cert, key = str(tls.cert), str(tls.key)
    made = Security(
        # Without it a side that is offered plain TCP takes it.
        require_encryption=True,
        tls_ca_file=str(tls.ca_file),
        tls_client_cert=cert,
        tls_client_key=key,
        tls_scheduler_cert=cert,
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
    )
    try:
        made.get_connection_args("client")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"cluster.tls: {tls.ca_file}, {cert} and {key} do not make a pair of certificate and "
            f"key with its authority, in PEM: {error}; see docs/clusters.md"
        ) from None
    return made


def refusal(address: str, error: BaseException) -> str | None:
    """Why somebody at an encrypted address would not talk; None where nobody answered there.

    A scheduler that refuses a certificate says so, or just hangs up, as does one without TLS: which
    of it is heard here is a matter of chance, so every end but silence counts.
    """
    if not address.startswith("tls://") or "Timed out" in str(error):
        return None
    root = error
    while root.__cause__:
        root = root.__cause__
    return str(root) or type(root).__name__
