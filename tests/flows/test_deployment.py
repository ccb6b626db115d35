"""As an operator runs it: ``prefect deployment run`` against a stack that ``make up`` started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg.io import plain_yaml
from tests.support.stack_process import StackProcess, artifacts, report_of, running_stack

pytestmark = [pytest.mark.flow, pytest.mark.slow]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    with running_stack(tmp_path_factory.mktemp("s")) as found:
        yield found


@pytest.fixture(scope="module")
def mapped(stack: StackProcess, small_area: Path) -> Path:
    """The folder of a run of `crop-map/demo`."""
    output = small_area / "deployed"
    done = stack.deploy("crop-map/demo", config=str(small_area / "small.yaml"), output=str(output))
    assert done.returncode == 0, done.stdout + done.stderr + stack.logs()
    return output


def test_deployment_run_watch(stack: StackProcess, mapped: Path) -> None:
    for name in ("small_class.tif", "small_confidence.tif", "small_crops.gpkg", "report.html"):
        assert (mapped / name).stat().st_size > 0
    report = report_of(mapped)
    assert report["plan"]["workers"] == stack.settings.scheduler
    assert stack.settings.scheduler.startswith("tls://")
    shown = artifacts(stack)
    assert shown["geoseg-predict"]["data"] == 100
    assert [row["pixels"] for row in json.loads(shown["geoseg-areas"]["data"])] == [
        row["pixels"] for row in report["areas"]
    ]
    assert "report.html" in shown["geoseg-report"]["data"]
    assert "data:image/png;base64," in shown["geoseg-quicklook"]["data"]
    # The run's page has first what is not of a task.
    first = {key for key, found in shown.items() if not found["task_run_id"]}
    assert first == {"geoseg-quicklook", "geoseg-map"}


def test_train_model(stack: StackProcess, small_area: Path, mapped: Path) -> None:
    """In the folder of the run, where the model is finished: nothing is trained again."""
    before = (mapped / "model/model.safetensors").stat().st_mtime_ns
    config = str(small_area / "small.yaml")
    done = stack.deploy("train-model/model", config=config, output=str(mapped))
    assert done.returncode == 0, done.stdout + stack.logs()
    assert "is finished for this input" in stack.logs()
    assert (mapped / "model/model.safetensors").stat().st_mtime_ns == before


def test_evaluate_map(stack: StackProcess, small_area: Path, mapped: Path) -> None:
    """Scored again, now without the random forest; the map is not touched."""
    config = plain_yaml.load((small_area / "small.yaml").read_text())
    config["random_forest"] = False
    (small_area / "again.yaml").write_text(plain_yaml.dump(config))
    before, map_bytes = report_of(mapped), (mapped / "small_class.tif").read_bytes()
    arguments = {"config": str(small_area / "again.yaml"), "output": str(mapped)}
    done = stack.deploy("evaluate-map/scores", **arguments)
    assert done.returncode == 0, done.stdout + stack.logs()
    after = report_of(mapped)
    assert after["scores"] == before["scores"]
    assert "random_forest" in before["baselines"]
    assert "random_forest" not in after["baselines"]
    assert (mapped / "small_class.tif").read_bytes() == map_bytes


def test_a_mistake_fails_the_run(stack: StackProcess, tmp_path: Path) -> None:
    reason = f"{tmp_path / 'missing.yaml'}: no such config file"
    done = stack.run(
        "prefect", "deployment", "run", "crop-map/demo", "--param",
        f"config={tmp_path / 'missing.yaml'}", "--watch", COLUMNS="300",
    )  # fmt: skip
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.startswith("▪")]
    assert said[-1].endswith(reason), done.stdout
    assert "Traceback" not in done.stdout
    run = stack.newest_run()
    assert (run["state"]["name"], run["state"]["message"]) == ("Failed", reason)
    kept = stack.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert max(kept, key=lambda each: each["timestamp"])["message"] == reason
    assert "Unexpected result" not in str(kept)


def test_a_wrong_parameter_is_refused_before_the_run(stack: StackProcess) -> None:
    done = stack.deploy("crop-map/demo", scheduler="localhost")
    assert done.returncode == 1
    assert "scheduler" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "crop-map/demo",
        "crop-map/area",
        "train-model/model",
        "evaluate-map/scores",
        "watch-imagery/service",
    ],
)
def test_the_form_explains_every_parameter(stack: StackProcess, name: str) -> None:
    found = stack.api(f"deployments/name/{name}", method="GET")
    schema = found["parameter_openapi_schema"]
    assert schema["required"] == ["service" if name.startswith("watch") else "config"]
    for key, parameter in schema["properties"].items():
        assert parameter["title"] != key, key
        assert parameter["description"].endswith("."), key
        assert parameter["type"] == "integer" or parameter["examples"], key
    assert "geoseg" in found["tags"]
    assert found["enforce_parameter_schema"]
