"""What can go wrong because of input: one leaf class per cause.

Every message names the file or key, the value, the limit and the remedy. The command line prints
the message alone and exits with ``exit_code``; anything that is not a ``GeosegError`` is a bug and
keeps its traceback.
"""

from __future__ import annotations

import errno

from geoseg.redaction import redact

_OF_PLACE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT,
}  # fmt: skip
"""How the system says that a disk or a server is full, closed or away."""


class GeosegError(Exception):
    """Base of every error a user can mend. Never raised itself."""

    exit_code = 2
    retryable: bool = False
    """Whether the same command may succeed later with nothing mended in the config: disks are freed
    and servers come back, but no wait corrects a key. What runs unattended tries again on this alone."""
    of_place: bool = False
    """Whether the place fails, not the work: its disk, a folder, a server, an image that is away. What
    runs unattended waits until that is mended, and it uses up no tries."""

    def __str__(self) -> str:
        """The message without secrets: it ends in logs, on pages and in mails."""
        return redact(super().__str__())


class ConfigError(GeosegError):
    """A config file is missing, is not YAML, or has a wrong key or value."""


class ConfinedError(GeosegError):
    """A path or an address is not one of those that may be opened: outside the allowed folders or
    hosts, or of a kind that leads elsewhere."""


class RasterError(GeosegError):
    """A raster cannot be opened or read, or is of a kind geoseg does not map."""


class ChangedInputError(GeosegError):
    """An input file went away or was replaced while a run was under way."""

    of_place = True


class GridMismatchError(GeosegError):
    """Rasters that must lie on one grid do not."""


class SceneError(GeosegError):
    """A date or a band that the config or the model asks for is not in the imagery."""


class EmptySelectionError(GeosegError):
    """Nothing is left to work on: no scene matches, or no pixel is valid."""


class LabelError(GeosegError):
    """Labels cannot be used: unknown names or codes, a missing attribute, or too few of them."""


class ParcelError(GeosegError):
    """A layer of parcels, or a table of declared crops, cannot be used."""


class ModelError(GeosegError):
    """A model bundle is damaged, or does not fit the imagery it is asked to map."""


class MemoryLimitError(GeosegError):
    """A block needs more memory than a worker has."""


class OutputError(GeosegError):
    """A result cannot be written: no space, no permission, or the place is taken."""

    retryable = True
    of_place = True


class ProductError(OutputError):
    """A run's own product or record is not there, or not as the run described it: its step has not
    run, or somebody changed it."""

    of_place = False


class ClosedError(ConfigError):
    """A bucket is not there, or not open to these credentials."""

    retryable = True
    of_place = True


class BusyError(GeosegError):
    """Another run works in that folder at this moment."""

    retryable = True
    of_place = True


class ClusterError(GeosegError):
    """Dask does not serve: no scheduler answers, no worker comes, or what was there went away."""

    retryable = True


class NoClusterError(ClusterError):
    """No scheduler answers, or no worker comes: nothing has been begun that could have ended them."""

    of_place = True


class RemoteError(GeosegError):
    """A server or an object store does not answer, or does not send the whole file."""

    retryable = True
    of_place = True


class LedgerError(GeosegError):
    """The database of item records and orders does not answer."""

    retryable = True
    of_place = True


class OrderError(GeosegError):
    """An order is not there, or is not this run's to work on: ended, replaced, or another's."""


class BlockError(GeosegError):
    """A block failed for good; the others are finished and kept."""

    exit_code = 3
    retryable = True


class GateError(GeosegError):
    """A finished map does not pass its checks: it is kept apart, and not published."""

    exit_code = 4


def of_place(error: object) -> bool:
    """Whether an error is the place's, see ``GeosegError.of_place``; also one of the system's own."""
    if isinstance(error, OSError):
        return error.errno in _OF_PLACE
    return isinstance(error, GeosegError) and error.of_place
