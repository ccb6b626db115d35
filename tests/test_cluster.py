"""Where blocks are predicted: real schedulers, workers and certificates, each in its own process."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Client, KilledWorker, LocalCluster, SpecCluster

from geoseg.config import ClusterConfig, RunConfig, TlsConfig
from geoseg.engine import capacity as capacity_module
from geoseg.engine import cluster, local, named
from geoseg.engine.capacity import Capacity, capacity
from geoseg.engine.cluster import ClusterSettings, check, connect
from geoseg.errors import ClusterError, ConfigError
from geoseg.io.configs import parse

LOCAL_CLUSTER = "distributed.LocalCluster"


# --- what the config says ---------------------------------------------------------------------


def _run_config(section: dict[str, Any]) -> RunConfig:
    content = {"name": "x", "imagery": {"folder": "i"}, "model": {"bundle": "m"}}
    return parse({**content, "cluster": section}, Path("/area"), "x.yaml")


def test_every_key_of_the_section() -> None:
    section = {
        "class": "dask_jobqueue.SLURMCluster",
        "workers": 12,
        "lanes": 4,
        "options": {"queue": "gpu", "cores": 8},
        "resources": {"GPU": 1},
        "tls": {"ca_file": "ca.pem", "cert": "cert.pem", "key": "/keys/key.pem"},
    }
    settings = ClusterSettings.of(_run_config(section).cluster)
    assert settings.tls is not None
    assert settings == ClusterSettings(
        workers=12,
        lanes=4,
        class_path="dask_jobqueue.SLURMCluster",
        options={"queue": "gpu", "cores": 8},
        resources={"GPU": 1},
        tls=TlsConfig(
            ca_file=Path("/area/ca.pem"), cert=Path("/area/cert.pem"), key=Path("/keys/key.pem")
        ),
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"address": "tcp://a:1", "class": LOCAL_CLUSTER}, "'address' or 'class', not both"),
        ({"address": "tcp://a:1", "workers": 2}, "the scheduler at 'address' has its own"),
        ({"options": {"n_workers": 1}}, "'options' are those of a 'class'"),
        ({"class": LOCAL_CLUSTER, "workers": 0}, "no Dask at all"),
        ({"class": "LocalCluster"}, r"cluster\.class: write module\.Class"),
        ({"class": "os.system"}, r"cluster\.class: a cluster class may come from distributed, "),
        ({"class": "distributed_evil.X"}, "from nowhere else"),
        (
            {"class": LOCAL_CLUSTER, "options": {"preload": "x.py"}},
            "'preload' makes Dask load code",
        ),
        ({"class": LOCAL_CLUSTER, "options": {"security": True}}, r"made of 'cluster\.tls'"),
        ({"threads": 2}, r"cluster\.threads: unknown key"),
        ({"lanes": 0}, r"cluster\.lanes.*greater than or equal to 1"),
        ({"resources": {"GPU": 0}}, r"cluster\.resources\.GPU: .*greater than 0"),
        ({"tls": {"ca_file": "ca.pem", "cert": "c.pem"}}, r"cluster\.tls\.key: missing"),
        (
            {
                "address": "tcp://a:1",
                "tls": {"ca_file": "ca.pem", "cert": "c.pem", "key": "k.pem"},
            },
            "tcp://a:1 is not encrypted.*write tls://a:1",
        ),
    ],
)
def test_mistakes_are_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _run_config(section)


def test_options_stay_out_of_reports() -> None:
    config = _run_config({"class": LOCAL_CLUSTER, "options": {"name": "a token"}})
    assert "a token" not in config.model_dump_json()
    assert "a token" not in repr(config)
    assert "a token" not in repr(ClusterSettings.of(config.cluster))


@pytest.mark.parametrize(
    ("section", "workers", "scheduler", "wanted"),
    [
        ({"workers": 3}, None, "", (None, 3, None)),
        ({"workers": 3}, 0, "", (None, 0, None)),
        ({"workers": 3}, None, "tcp://b:1", ("tcp://b:1", 3, None)),
        ({"address": "tcp://a:1"}, None, "", ("tcp://a:1", None, None)),
        ({"address": "tcp://a:1"}, 2, "", (None, 2, None)),
        ({"class": LOCAL_CLUSTER}, None, "", (None, None, LOCAL_CLUSTER)),
        ({"class": LOCAL_CLUSTER, "workers": 5}, 2, "", (None, 2, LOCAL_CLUSTER)),
        ({"class": LOCAL_CLUSTER}, 0, "", (None, 0, None)),
        ({"class": LOCAL_CLUSTER}, None, "tcp://b:1", ("tcp://b:1", None, None)),
    ],
)
def test_the_command_line_wins(
    section: dict[str, Any], workers: int | None, scheduler: str, wanted: tuple[Any, ...]
) -> None:
    settings = ClusterSettings.of(ClusterConfig.model_validate(section), workers, scheduler)
    assert (settings.address, settings.workers, settings.class_path) == wanted
    assert settings.dask == (wanted != (None, 0, None))


# --- this machine -----------------------------------------------------------------------------


def _gpu_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put an nvidia-smi of our own first on the path: the only way to have GPUs where none are."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


FOUR = 'for i in 0 1 2 3; do echo "GPU $i: NVIDIA H200 (UUID: GPU-$i)"; done'


@pytest.mark.parametrize(
    ("script", "visible", "gpus"),
    [
        (FOUR, None, ("0", "1", "2", "3")),
        (FOUR, "2,3", ("2", "3")),
        (FOUR, "GPU-1", ("GPU-1",)),
        (FOUR, "1,-1,2", ("1",)),
        (FOUR, "", ()),
        ("echo 'NVIDIA-SMI has failed'; exit 9", None, ()),
        ("echo 'No devices were found'", "0", ()),
    ],
)
def test_gpus(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    visible: str | None,
    gpus: tuple[str, ...],
) -> None:
    _gpu_driver(tmp_path, monkeypatch, script)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.visible_gpus() == gpus
    settings = ClusterSettings.of(ClusterConfig())
    assert settings.workers == max(1, len(gpus))
    assert settings.gpus == gpus
    assert settings.lanes == (1 if gpus else local.cores())


def test_a_gpu_has_one_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _gpu_driver(tmp_path, monkeypatch, FOUR)
    with pytest.raises(ConfigError, match=r"cluster\.lanes: 3 .*a GPU runs one"):
        ClusterSettings.of(ClusterConfig(lanes=3))
    monkeypatch.setattr(local, "cores", lambda: 16)
    assert ClusterSettings.of(ClusterConfig()).threads == 4
    assert ClusterSettings.of(ClusterConfig(workers=1)).threads == 8


def test_lanes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "visible_gpus", lambda: ())
    monkeypatch.setattr(local, "cores", lambda: 8)
    made = {n: ClusterSettings.of(ClusterConfig(workers=n)).lanes for n in (0, 1, 3, 16)}
    assert made == {0: 8, 1: 8, 3: 2, 16: 1}
    assert ClusterSettings.of(ClusterConfig(workers=2, lanes=3)).threads == 4


@pytest.fixture(scope="module")
def here() -> Iterator[Client]:
    """Two workers of this machine, each made to believe in a GPU of its own."""
    before = dict(os.environ)
    settings = ClusterSettings(workers=2, gpus=("0", "GPU-b"), resources={"GPU": 0.5})
    with connect(settings) as client:
        yield client
    assert dict(os.environ) == before, "Dask's settings for workers stayed in this process"


def _device() -> tuple[str | None, str | None]:
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _sockets(pid: int) -> list[str]:
    """Hosts at which a process listens."""
    import psutil

    connections = psutil.Process(pid).net_connections("inet")
    return [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]


def test_each_worker_has_its_gpu(here: Client) -> None:
    assert sorted(here.run(_device).values()) == [("0", "1"), ("GPU-b", "1")]
    threads = min(8, max(2, local.cores() // 2))
    assert capacity(here, {"GPU": 0.5}) == Capacity(2, threads, None)
    assert capacity(here, {"GPU": 0.5 * threads}).threads_per_worker == 1
    assert here.submit(int, 3, resources={"GPU": 0.5}).result(timeout=10) == 3


def test_nothing_listens_beyond_this_machine(here: Client) -> None:
    processes = [os.getpid(), *here.run(os.getpid).values()]
    hosts = [host for pid in processes for host in _sockets(pid)]
    assert len(hosts) >= 6
    assert set(hosts) == {"127.0.0.1"}


def test_a_block_that_kills_is_found_quickly_and_workers_come_back(
    here: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    before = set(here.run(os.getpid).values())
    with pytest.raises(KilledWorker, match="on 2 different workers"):
        here.submit(_die, pure=False).result(timeout=60)
    deadline = time.monotonic() + 60
    while capacity(here).workers < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    after = set(here.run(os.getpid).values())
    assert len(after) == 2
    assert len(after & before) <= 1
    assert sorted(here.run(_device).values()) == [("0", "1"), ("GPU-b", "1")]
    assert capfd.readouterr().err == "", "between the progress bars"


# --- a scheduler's address --------------------------------------------------------------------


@contextmanager
def _process(command: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    line = [sys.executable, "-m", "dask", command, "--host", "127.0.0.1", *arguments]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def _scheduler(folder: Path, *arguments: str) -> Iterator[str]:
    """``dask scheduler`` on a free port; yields its address."""
    file = folder / "scheduler.json"
    free = ("--port", "0", "--dashboard-address", "127.0.0.1:0")
    with _process("scheduler", "--scheduler-file", str(file), *free, *arguments) as process:
        deadline = time.monotonic() + 60
        while not file.is_file() or '"address"' not in file.read_text():
            assert process.poll() is None, "the scheduler ended"
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.1)
        yield file.read_text().split('"address": "')[1].split('"')[0]


@contextmanager
def _worker(address: str, *arguments: str) -> Iterator[None]:
    """``dask worker`` of an address."""
    options = ("--no-dashboard", "--memory-limit", "1GiB", "--death-timeout", "60")
    with _process("worker", address, *options, *arguments):
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers, of which one offers a GPU."""
    folder = str(tmp_path_factory.mktemp("dask"))
    with ExitStack() as stack:
        address = stack.enter_context(_scheduler(Path(folder)))
        gpu = ("--resources", "GPU=2", "--name", "gpu")
        stack.enter_context(_worker(address, "--nthreads", "3", "--local-directory", folder, *gpu))
        stack.enter_context(_worker(address, "--nthreads", "4", "--local-directory", folder))
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


def test_blocks_go_where_the_resource_is(plain: str) -> None:
    settings = ClusterSettings(address=plain, resources={"GPU": 1})
    with connect(settings) as client:
        workers = client.scheduler_info()["workers"].items()
        (gpu,) = (address for address, worker in workers if worker["name"] == "gpu")
        futures = [client.submit(os.getpid, pure=False, resources={"GPU": 1}) for _ in range(6)]
        assert set(client.gather(futures)) == set(client.run(os.getpid, workers=[gpu]).values())
        assert capacity(client) == Capacity(2, 4, 2**30)
        assert capacity(client, settings.resources) == Capacity(1, 2, 2**30)


def test_a_resource_that_nobody_offers(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_module, "RESOURCE_SECONDS", 0.5)
    message = r"needs FPGA=2 and no worker at tcp://.* \(they offer GPU=2; nothing\).*--resources"
    with (
        pytest.raises(ConfigError, match=message),
        connect(ClusterSettings(address=plain, resources={"FPGA": 2})),
    ):
        pass
    with (
        pytest.raises(ConfigError, match="needs GPU=3"),
        connect(ClusterSettings(address=plain, resources={"GPU": 3})),
    ):
        pass


def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with (
        _scheduler(tmp_path) as address,
        pytest.raises(
            ClusterError, match=r"no worker for 0\.5 s; start one with 'dask worker tcp:"
        ),
        connect(ClusterSettings(address=address)),
    ):
        pass


def test_no_scheduler_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    settings = ClusterSettings(address="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers"), connect(settings):
        pass


# --- certificates -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Authority:
    """Signs certificates; its own goes into every ``ca_file``."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = _certificate(subject, subject, key)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(constraints, critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def issue(self, folder: Path) -> TlsConfig:
        """Files of a new certificate."""
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "geoseg")])
        builder = _certificate(subject, self.certificate.subject, key)
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        signed = builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())
        tls = TlsConfig(ca_file=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
        tls.ca_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        tls.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        tls.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return tls


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(hours=1),
        not_valid_after=now + dt.timedelta(days=1),
    )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("authority")


@pytest.fixture(scope="module")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> TlsConfig:
    """Those of the flow; the scheduler and its worker have others of the same authority."""
    return authority.issue(tmp_path_factory.mktemp("flow") / "tls")


@pytest.fixture(scope="module")
def encrypted(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and a worker that speak TLS only."""
    folder = tmp_path_factory.mktemp("dask")
    tls = authority.issue(folder / "tls")
    files = ("--tls-ca-file", tls.ca_file, "--tls-cert", tls.cert, "--tls-key", tls.key)
    arguments = tuple(str(part) for part in files)
    with (
        _scheduler(folder, "--protocol", "tls", *arguments) as address,
        _worker(address, "--nthreads", "1", "--local-directory", str(folder), *arguments),
    ):
        yield address


def test_tls(encrypted: str, certificates: TlsConfig) -> None:
    assert encrypted.startswith("tls://")
    with connect(ClusterSettings(address=encrypted, tls=certificates)) as client:
        assert client.submit(sum, [1, 2]).result(timeout=20) == 3
        workers = client.scheduler_info()["workers"]
    assert all(address.startswith("tls://") for address in workers)


def test_tls_on_this_machine(certificates: TlsConfig) -> None:
    with connect(ClusterSettings(workers=1, tls=certificates)) as client:
        assert client.submit(sum, [1, 2]).result(timeout=20) == 3
        address = client.scheduler.address
        workers = client.scheduler_info()["workers"]
        assert all(name.startswith("tls://") for name in (address, *workers))
        with pytest.raises(OSError, match=r"reset by peer|Timed out|closed"):
            Client(address.replace("tls://", "tcp://"), timeout=2)


def test_tls_refuses_who_has_no_certificate(
    encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    message = r"tls://.* is encrypted and there are no certificates; give 'cluster\.tls'"
    with pytest.raises(ConfigError, match=message), connect(ClusterSettings(address=encrypted)):
        pass
    tcp = encrypted.replace("tls://", "tcp://")
    message = r"no Dask scheduler answers at tcp://.*'cluster\.tls' where it wants certificates"
    with pytest.raises(ClusterError, match=message), connect(ClusterSettings(address=tcp)):
        pass


def test_tls_refuses_another_authority(
    encrypted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    stranger = Authority.make("stranger").issue(tmp_path / "stranger")
    message = r"cluster\.tls: .* at tls://.* do not get along \(.*verify failed.*both sides need"
    with (
        pytest.raises(ConfigError, match=message),
        connect(ClusterSettings(address=encrypted, tls=stranger)),
    ):
        pass


def test_tls_refuses_a_certificate_of_another_authority(
    encrypted: str, certificates: TlsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client trusts the scheduler, the scheduler not the client."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    stranger = Authority.make("stranger").issue(tmp_path / "stranger")
    mixed = stranger.model_copy(update={"ca_file": certificates.ca_file})
    with (
        pytest.raises(ConfigError, match=r"cluster\.tls: .* do not get along"),
        connect(ClusterSettings(address=encrypted, tls=mixed)),
    ):
        pass


def test_tls_to_a_scheduler_without(plain: str, certificates: TlsConfig) -> None:
    settings = ClusterSettings(address=plain.replace("tcp://", "tls://"), tls=certificates)
    with pytest.raises(ConfigError, match=r"it must speak TLS"), connect(settings):
        pass


def test_wrong_files(certificates: TlsConfig, authority: Authority, tmp_path: Path) -> None:
    other = authority.issue(tmp_path / "other")
    wrong = {
        "cluster.tls.key: .*gone.pem is not a file": {"key": tmp_path / "gone.pem"},
        "do not make a pair": {"key": other.key},
        "cluster.tls: ": {"cert": other.key},
    }
    for message, change in wrong.items():
        with pytest.raises(ConfigError, match=message):
            check(ClusterSettings(tls=certificates.model_copy(update=change)))
    check(ClusterSettings(tls=certificates))
    with pytest.raises(ConfigError, match=r"not encrypted.*write tls://10\.0\.0\.5:8786"):
        check(ClusterSettings(address="10.0.0.5:8786", tls=certificates))


# --- a cluster class --------------------------------------------------------------------------

SMALL = {"threads_per_worker": 1, "memory_limit": "1GiB", "dashboard_address": "127.0.0.1:0"}


def test_a_class_is_started_scaled_and_stopped(certificates: TlsConfig) -> None:
    settings = ClusterSettings(
        class_path=LOCAL_CLUSTER,
        workers=2,
        options={**SMALL, "n_workers": 1, "resources": {"GPU": 1}},
        resources={"GPU": 1},
        tls=certificates,
    )
    with connect(settings) as client:
        started = client.cluster
        assert type(started) is LocalCluster
        client.wait_for_workers(2, timeout=30)
        assert capacity(client, {"GPU": 1}) == Capacity(2, 1, 2**30)
        assert client.scheduler.address.startswith("tls://")
        with pytest.raises(KilledWorker, match="on 2 different workers"):
            client.submit(_die, pure=False).result(timeout=60)
    assert started.status.name == "closed"


def test_a_class_is_stopped_after_an_error() -> None:
    started: list[LocalCluster] = []
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=None, options={**SMALL})
    with pytest.raises(KeyError), connect(settings) as client:
        started.append(client.cluster)
        raise KeyError
    assert started[0].status.name == "closed"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "distributed.LocalClutser",
            r"no LocalClutser in distributed; did you mean LocalCluster\?",
        ),
        ("distributed.Nothing", "cluster classes there: LocalCluster, "),
        ("distributed.Client", "is not a cluster class"),
        ("distributed.wait", "is not a cluster class"),
        ("distributed.SpecCluster", "is a base class"),
        ("distributed.deploy.cluster.Cluster", "is a base class"),
        ("distributed.depoly.LocalCluster", "No module named 'distributed.depoly'.*the spelling"),
        ("coiled.Cluster", "cannot be imported .*; pip install coiled"),
        ("antigravity.Cluster", "a cluster class may come from distributed, dask_jobqueue"),
    ],
)
def test_a_class_that_is_not_there(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"cluster\.class: .*{message}"):
        check(ClusterSettings(class_path=path))
    assert "antigravity" not in sys.modules, "a module off the list was run"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_worker": 1}, r"LocalCluster takes no 'n_worker'; did you mean 'n_workers'\?"),
        ({**SMALL, "n_workers": "x"}, r"does not start: TypeError: .*; check 'cluster\.options'"),
        ({**SMALL, "n_workers": 1, "nthread": 1}, r"unexpected keyword argument 'nthread'"),
        ({**SMALL, "n_workers": 0}, r"comes without workers; say how many"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=None, options=options)
    with pytest.raises(ConfigError, match=message), connect(settings):
        pass


class Strict(SpecCluster):
    """A cluster class with names of its own only, and no certificates."""

    def __init__(self, queue: str = "", walltime: str = "") -> None:
        raise AssertionError("never started")


def test_options_of_a_strict_class() -> None:
    named.check_options(Strict, {"queue": "long"}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no 'waltime'; did you mean 'walltime'\?"):
        named.check_options(Strict, {"waltime": "1:00"}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no 'x'; known: queue, walltime"):
        named.check_options(Strict, {"x": 1}, tls=False)
    with pytest.raises(ConfigError, match=r"Strict takes no certificates"):
        named.check_options(Strict, {}, tls=True)


def test_no_worker_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "QUEUE_SECONDS", 0.2)
    settings = ClusterSettings(
        class_path=LOCAL_CLUSTER, workers=0, options={**SMALL, "n_workers": 0}
    )
    message = r"has had no worker for 0\.2 s.*jobs or pods"
    with pytest.raises(ClusterError, match=message), connect(settings):
        pass


def test_a_worker_that_cannot_start() -> None:
    """Scaled up, and not at once: Dask only logs what fails then."""
    options = {**SMALL, "n_workers": 0, "nthread": 1}
    settings = ClusterSettings(class_path=LOCAL_CLUSTER, workers=1, options=options)
    message = "LocalCluster cannot start a worker: TypeError: .*'nthread'"
    with pytest.raises(ConfigError, match=message), connect(settings):
        pass


# A queue of our own: jobs start at once, in a session that scancel can end.
SBATCH = """#!/bin/sh
job="$(dirname "$0")/job.sh"
cp "$1" "$job"
setsid sh "$job" > /dev/null 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -- "-$1"
"""


def test_jobs_of_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificates: TlsConfig
) -> None:
    """dask-jobqueue writes the job and submits it; only the queue is not SLURM's."""
    pytest.importorskip("dask_jobqueue")
    settings = ClusterSettings(
        class_path="dask_jobqueue.SLURMCluster",
        workers=1,
        options={
            "cores": 2,
            "processes": 1,
            "memory": "1GiB",
            "local_directory": str(tmp_path),
            "scheduler_options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
            "worker_extra_args": ["--resources", "GPU=2"],
        },
        resources={"GPU": 1},
        tls=certificates,
    )
    with (
        pytest.raises(ConfigError, match=r"cannot start a worker: FileNotFoundError: .*'sbatch'"),
        connect(settings),
    ):
        pass
    for name, script in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with connect(settings) as client:
        pid = client.submit(os.getpid, resources={"GPU": 1}).result(timeout=30)
        assert capacity(client, {"GPU": 1}) == Capacity(1, 2, 2**30)
        assert client.scheduler.address.startswith("tls://")
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists(), "the job outlives the run"
