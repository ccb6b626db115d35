"""A real SLURM for tests: ``with slurm() as cluster``; two nodes on this machine, GPUs in name only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import free_port
from tests.support.stack_process import clean_environment, wait_for

NODES = ("one", "two")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

# Everything on 127.0.0.1 and in one folder. Nodes claim more cores than the machine has, to SLURM any
# device file may be a GPU, and a node's death is noticed in seconds.
CONFIG = """
ClusterName=geoseg
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
KillWait=5
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=16000 "
    "Gres=gpu:2 State=UNKNOWN\n"
)
GPUS = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"


@dataclass(frozen=True)
class Slurm:
    """A controller and its nodes."""

    folder: Path
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """What its commands need to find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str, check: bool = True, cwd: Path | None = None, **env: str) -> str:
        """One of SLURM's commands; what it says."""
        done = subprocess.run(
            command, env={**clean_environment(), **self.env, **env}, cwd=cwd, capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.stderr}{self.logs()}"
        return done.stdout

    def jobs(self, name: str = "", state: str = "") -> list[str]:
        """Numbers of the jobs that wait, run or end, oldest first."""
        chosen = [f"--name={name}"] * bool(name) + [f"--states={state}"] * bool(state)
        return self.call("squeue", "--noheader", "--format=%i", "--sort=i", *chosen).split()

    def members(self) -> list[psutil.Process]:
        """All processes of the cluster: daemons, and jobs with what they started."""
        return [each for each in psutil.process_iter() if self._owns(each)]

    def of_job(self, job: str) -> list[psutil.Process]:
        """Processes of a job, without SLURM's own."""
        return [each for each in self.members() if _environ(each).get("SLURM_JOB_ID") == job]

    def start(self, name: str, *command: str) -> None:
        """One of the daemons, in the foreground of a process of its own."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, stdout=out,
                stderr=out, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def start_node(self, name: str) -> None:
        """The daemon of a node, which starts its jobs."""
        self.start(f"slurmd-{name}", "slurmd", "-D", "-N", name)

    def kill_node(self, job: str) -> None:
        """Have the node of a job vanish, with all that runs there."""
        node = self.call("squeue", f"--jobs={job}", "--noheader", "--format=%N").strip()
        daemon = psutil.Process(self._daemons[f"slurmd-{node}"].pid)
        daemon.kill()
        for each in [*self.of_job(job), *self._steps(job)]:
            each.kill()

    def _steps(self, job: str) -> list[psutil.Process]:
        """SLURM's own processes beside a job's."""
        title = f"slurmstepd: [{job}."
        return [each for each in self.members() if "".join(each.cmdline()).startswith(title)]

    def idle(self) -> bool:
        """Whether every node has nothing to do, and could."""
        shown = self.call("sinfo", "--noheader", "--Node", "--format=%T", check=False)
        return shown.split() == ["idle"] * len(NODES)

    def stop(self) -> None:
        """End everything: jobs would outlive the daemons."""
        while left := self.members():
            for each in left:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            for daemon in self._daemons.values():
                daemon.wait(timeout=20)
            psutil.wait_procs(left, timeout=5)

    def logs(self) -> str:
        """The end of everything that it said."""
        paths = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in paths)

    def _owns(self, process: psutil.Process) -> bool:
        # Some of SLURM's own overwrite their environment with a title; those stay in the folder.
        found = _environ(process).get("SLURM_CONF") == self.env["SLURM_CONF"]
        return found or _cwd(process) == str(self.folder)


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


def _cwd(process: psutil.Process) -> str:
    try:
        return str(process.cwd())
    except psutil.Error:
        return ""


def _missing() -> str:
    """Why there can be no SLURM here; empty where there can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        packages = "Debian's slurmctld, slurmd, slurm-client and munge"
        return f"SLURM is not installed: no {', '.join(missing)} ({packages})"
    return "" if os.geteuid() == 0 else "slurmd wants root"


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A cluster whose nodes are idle; no process is left at its end. Skips where there is no SLURM."""
    if reason := _missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        # Not in pytest's folder: the socket needs a short name.
        cluster = Slurm(Path(tempfile.mkdtemp(prefix="geoseg-slurm-")))
        stack.callback(shutil.rmtree, cluster.folder, ignore_errors=True)
        stack.callback(cluster.stop)
        _configure(cluster.folder)
        _start(cluster)
        yield cluster


def _configure(folder: Path) -> None:
    host = socket.gethostname().partition(".")[0]
    text = CONFIG.format(host=host, port=free_port(), folder=folder)
    nodes = (NODE.format(name=name, host=host, port=free_port()) for name in NODES)
    (folder / "slurm.conf").write_text(text + "".join(nodes))
    (folder / "gres.conf").write_text(GPUS)
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(64))


def _start(cluster: Slurm) -> None:
    folder = cluster.folder
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    places = [f"--{option}={folder / name}" for option, name in files.items()]
    # Forced: it dislikes being root, and a socket where only root may look.
    cluster.start("munged", "munged", "--foreground", "--force", *places)
    wait_for((folder / "munge.socket").exists, 20)
    cluster.start("slurmctld", "slurmctld", "-D")
    for name in NODES:
        cluster.start_node(name)
    wait_for(cluster.idle, 60)
