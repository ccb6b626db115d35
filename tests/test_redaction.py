"""What no message may tell, and the log that tells the rest."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg import redaction
from geoseg.errors import ConfigError
from geoseg.feedback import Console
from geoseg.io import logs
from geoseg.redaction import hide, redact, redact_all
from tests.support.engine_season import make_bundle, make_imagery, plan


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    redaction._hidden.clear()


def test_values_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "admin:Zq7-hidden"
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", secret)
    monkeypatch.setenv("aws_secret_access_key", "wJalr/XUt+nFEMI")
    monkeypatch.setenv("SOME_TOKEN", "true")
    monkeypatch.setenv("KEY_FILE", str(tmp_path))
    monkeypatch.setenv("GEOSEG_TLS_KEY", "/not/there.pem")
    assert redact(f"call with {secret}") == "call with ***"
    assert redact("Zq7-hidden was refused") == "*** was refused"
    assert redact(base64.b64encode(secret.encode()).decode()) == "***"
    assert redact("key wJalr/XUt+nFEMI") == "key ***"
    assert redact(f"true at {tmp_path} and /not/there.pem") == (
        f"true at {tmp_path} and /not/there.pem"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://geo:pa:ss@db:5432/x failed", "postgresql://***@db:5432/x failed"),
        ("https://ghp_abc@host/a", "https://***@host/a"),
        ("GET https://h/a?sv=1&sig=abc%2F&x=2", "GET https://h/a?sv=1&sig=***&x=2"),
        ("s3://b/k?X-Amz-Security-Token=abc", "s3://b/k?X-Amz-Security-Token=***"),
        ("tcp://10.0.0.5:8786 and mail a@b.c", "tcp://10.0.0.5:8786 and mail a@b.c"),
    ],
)
def test_urls(text: str, told: str) -> None:
    assert redact(text) == told


def test_hidden_values_and_messages() -> None:
    hide({"a": ["planted-1", 7], "b": {"c": "planted-22", "short": "on"}})
    hide(["127.0.0.1", "tls://", "localhost", "tcp://10.0.0.5:8786", "--resources"])
    told = "tls://127.0.0.1:80 or localhost, with --resources"
    assert redact(told) == told
    assert redact_all({"x": ["planted-22 is on", 3, None]}) == {"x": ["*** is on", 3, None]}
    assert str(ConfigError("no planted-1 here")) == "no *** here"


def _lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GEOSEG_LOG", "json")
    monkeypatch.setenv("DB_PASSWORD", "planted-secret")
    logs.configure()
    logs.about({"run": "/out/valley", "stage": "predict"})
    logs.log.warning("block failed: %s", "planted-secret", extra={"block": "r0001_c0002"})
    Console().say("one line\nof news")
    try:
        raise ValueError("no planted-secret")
    except ValueError:
        logs.log.exception("a bug")
    logs.log.debug("not shown")
    logs.about({"run": "", "stage": ""})
    text = capsys.readouterr().err
    assert "planted" not in text
    failed, news, bug = _lines(text)
    assert failed["level"] == "warning"
    assert failed["message"] == "block failed: ***"
    assert (failed["run"], failed["stage"], failed["block"]) == (
        "/out/valley",
        "predict",
        "r0001_c0002",
    )
    assert failed["time"]
    assert news["message"] == "one line\nof news"
    assert "ValueError: no ***" in str(bug["exception"])


def test_plain_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("GEOSEG_LOG", raising=False)
    logs.configure()
    logs.log.warning("the progress bars tell enough")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GEOSEG_LOG_LEVEL", "warning")
    logs.configure()
    logs.log.warning("block failed: too bad", extra={"block": "r0_c1"})
    assert capsys.readouterr().err == "geoseg warning: block failed: too bad (block r0_c1)\n"
    monkeypatch.setenv("GEOSEG_LOG_LEVEL", "loud")
    logs.configure()
    assert logs.log.level == logging.ERROR


WORKER = """
import sys
from pathlib import Path
from geoseg.engine.predict import attempt_block
def attempt(col):
    print(type(attempt_block(sys.argv[1], 0, col, 1)).__name__)
attempt(1)
Path(sys.argv[2]).write_bytes(b"")
attempt(2)
"""


def test_blocks_are_logged_where_they_are_predicted(tmp_path: Path) -> None:
    """In a process that nobody set up, as a Dask worker is."""
    job = plan(make_imagery(tmp_path / "s"), make_bundle(tmp_path / "m"), tmp_path / "out/work").job
    env = {"GEOSEG_LOG": "json", "GEOSEG_LOG_LEVEL": "debug", **_python()}
    command = [sys.executable, "-c", WORKER, str(job.file), str(tmp_path / "s/2025-04-01.tif")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "Done\nChangedInputError\n"
    started, finished, again, failed = _lines(done.stderr)
    assert started["message"] == again["message"] == "block started"
    assert finished["message"] == "block finished"
    assert (finished["block"], finished["run"]) == ("r0000_c0001", str(tmp_path / "out"))
    assert set(finished["seconds"]) == {"read", "wait", "predict", "write"}  # type: ignore[call-overload]
    assert int(str(finished["bytes"])) > 0
    assert (failed["level"], failed["block"]) == ("warning", "r0000_c0002")
    assert "2025-04-01.tif changed" in str(failed["message"])


def _python() -> dict[str, str]:
    import os

    return {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "HOME") if key in os.environ}
