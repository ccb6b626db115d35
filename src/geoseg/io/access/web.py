"""Fetching files over HTTP from hosts that were named, whole or not at all.

``requests``, with urllib3's retries where another answer may come the next time. A download that
breaks off begins anew: what is fetched is checked as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from geoseg.errors import ConfinedError, RemoteError
from geoseg.feedback import Progress, Silent, Step
from geoseg.io import files
from geoseg.io.access.hosts import Hosts, without_query
from geoseg.io.store import checksums

TRIES = 4
"""Times that a server is asked, and times that a download is begun."""
BACKOFF_SECONDS = 1.0
"""Wait before the second try; each further wait is twice as long."""
LONGEST_SECONDS = 120
"""Longest wait that a server may ask for (``Retry-After``)."""
TIMEOUT = (10.0, 60.0)
"""Seconds to a connection, and between two pieces of an answer."""
REDIRECTS = 5
LARGEST = 50 * 2**30
"""Bytes of the largest file that is fetched unless told otherwise."""

_PIECE = 2**20
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may give another one soon."""


@dataclass(frozen=True, slots=True)
class Download:
    """What is known of a file before it is fetched."""

    size: int | None = None
    """Bytes (``file:size``)."""
    checksum: str = ""
    """``file:checksum`` of STAC, or a SHA-256, in hex."""
    largest: int = LARGEST
    """More bytes than this are refused."""


class Confined(HTTPAdapter):
    """Sends requests to allowed hosts only, redirected ones too, and repeats what may pass.

    Mount it on any ``requests`` session, such as that of ``pystac_client.stac_api_io.StacApiIO``.
    """

    def __init__(self, allowed: Hosts) -> None:
        self._allowed = allowed
        retries = Retry(
            TRIES - 1,
            redirect=0,
            backoff_factor=BACKOFF_SECONDS / 2,
            backoff_jitter=BACKOFF_SECONDS / 4,
            status_forcelist=_PASSING,
            allowed_methods=None,
            raise_on_status=False,
            retry_after_max=LONGEST_SECONDS,
        )
        super().__init__(max_retries=retries)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """See ``HTTPAdapter.send``; raises ``ConfinedError`` for another host."""
        self._allowed.require(request.url or "")
        return super().send(request, stream, timeout or TIMEOUT, verify, cert, proxies)


def session(allowed: Hosts) -> requests.Session:
    """A session that asks only these hosts."""
    made = requests.Session()
    made.max_redirects = REDIRECTS
    for scheme in ("http://", "https://"):
        made.mount(scheme, Confined(allowed))
    return made


def fetch(
    url: str,
    target: Path,
    allowed: Hosts,
    wanted: Download | None = None,
    progress: Progress | None = None,
) -> int:
    """Fetch a file; returns its bytes. ``target`` appears whole, or stays as it was.

    Raises ``ConfinedError`` for an address that may not be fetched from, or a file too large;
    ``RemoteError`` where it does not come, or does not come as ``wanted``; ``OutputError``.
    """
    allowed.require(url)
    wanted, progress = wanted or Download(), progress or Silent()
    if wanted.checksum and checksums.parse(wanted.checksum) is None:
        progress.say(f"{target.name}: its checksum is of a kind not known here, and not checked")
    with session(allowed) as asking:

        def once() -> int:
            with files.replacing(target) as part, _answer(asking, url) as answer:
                length = _length(answer, url, wanted)
                with progress.start(f"fetch {target.name}", length, "bytes") as step:
                    return _keep(answer, part, wanted, step)

        tries = Retrying(
            retry=retry_if_exception_type(_BrokenOff),
            wait=wait_exponential(BACKOFF_SECONDS),
            stop=stop_after_attempt(TRIES),
            reraise=True,
        )
        try:
            return tries(once)
        except _BrokenOff as error:
            shown = f"{without_query(url)}: {error}, {TRIES} times"
            raise RemoteError(f"{shown}; run the same command later") from None


class _BrokenOff(Exception):  # noqa: N818 - it never leaves this module
    """What came is not the file; another try may bring it."""


@contextmanager
def _answer(asking: requests.Session, url: str) -> Iterator[requests.Response]:
    """The server's answer, its body yet to be read."""
    shown = without_query(url)
    try:
        # A body that is packed for the way would have another length than the file.
        answer = asking.get(url, stream=True, headers={"Accept-Encoding": "identity"})
    except requests.TooManyRedirects:
        raise RemoteError(f"{shown}: more than {REDIRECTS} redirects") from None
    except requests.RequestException as error:
        raise RemoteError(f"{shown}: no answer: {_cause(error)}; try again later") from None
    with answer:
        steps = [each.url for each in (*answer.history, answer)]
        if steps[0].startswith("https:") and any(step.startswith("http:") for step in steps):
            raise ConfinedError(f"{shown}: redirects to an address without encryption")
        if answer.status_code != 200:
            raise RemoteError(f"{shown}: the server answers {answer.status_code} {answer.reason}")
        yield answer


def _length(answer: requests.Response, url: str, wanted: Download) -> int:
    """Bytes that are announced. ``ConfinedError`` for too many, ``RemoteError`` for another file's."""
    shown = without_query(url)
    told = answer.headers.get("Content-Length", "")
    length = int(told) if told.isdecimal() else None
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        length = None
    chunked = "chunked" in answer.headers.get("Transfer-Encoding", "")
    if length is None and not chunked and wanted.size is None and not wanted.checksum:
        raise RemoteError(f"{shown}: the server does not say how long it is; it may come in part")
    if length is not None and wanted.size not in (None, length):
        raise RemoteError(f"{shown}: {length} bytes, and the catalogue says {wanted.size}")
    expected = wanted.size if length is None else length
    if expected is not None and expected > wanted.largest:
        raise _too_large(shown, wanted.largest)
    return expected or 0


def _keep(answer: requests.Response, part: Path, wanted: Download, step: Step) -> int:
    """Write the body to a file and see that it is the file that is wanted."""
    expected = checksums.parse(wanted.checksum)
    running = expected.begin() if expected else None
    size = 0
    with part.open("wb") as handle:
        for piece in _pieces(answer):
            size += len(piece)
            if size > wanted.largest:
                raise _too_large(without_query(answer.url), wanted.largest)
            handle.write(piece)
            if running:
                running.update(piece)
            step.advance(len(piece))
    if wanted.size not in (None, size):
        raise _BrokenOff(f"{size} bytes came, and the catalogue says {wanted.size}")
    if running and expected and running.hexdigest() != expected.digest:
        raise _BrokenOff(f"what came has another checksum ({expected.function}) than the catalogue")
    return size


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_PIECE)
    # Heard here: to the file that is written, an OSError would mean the disk.
    except (requests.RequestException, HTTPError, OSError) as error:
        raise _BrokenOff(f"the download broke off: {_cause(error)}") from None


def _too_large(shown: str, largest: int) -> ConfinedError:
    return ConfinedError(f"{shown} is larger than {largest} bytes, the most that is fetched")


def _cause(error: BaseException) -> str:
    """What an error comes from; its own text may hold the URL with its query."""
    while inner := getattr(error, "reason", None) or error.__cause__ or error.__context__:
        if not isinstance(inner, BaseException):
            break
        error = inner
    return f"{type(error).__name__}" + (f": {error.strerror}" if isinstance(error, OSError) else "")
