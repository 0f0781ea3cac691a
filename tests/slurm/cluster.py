"""A Slurm of several nodes on this machine, in namespaces of its own.

All of it lives in one network, mount, process and host name namespace, whose first process ends
with the process that started it: nothing is left behind, nothing outside is changed, and two
clusters at a time do not meet. Each node has a process namespace of its own, as nodes do.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
UP_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 30
FIRST_PORT, FRAGILE = 17001, 3
CGROUPS = Path("/sys/fs/cgroup")

SLURM_CONF = """\
ClusterName=test
SlurmctldHost=slurmtest(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{task}
JobAcctGatherType=jobacct_gather/{gathering}
JobAcctGatherFrequency=task=1
JobAcctGatherParams=UsePss{kill}
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmctldTimeout=10
SlurmdTimeout=10
InactiveLimit=0
KillWait=3
MinJobAge=300
TreeWidth=65533
JobRequeue=1
DefMemPerCPU=500
EnforcePartLimits=ALL
NodeName=DEFAULT Boards=1 SocketsPerBoard=1 ThreadsPerCore=1 RealMemory={memory_mb} State=UNKNOWN
NodeName={firm} NodeHostname=slurmtest NodeAddr=127.0.0.1 Port={first_firm}-{last_firm} \
CPUs={cores} CoresPerSocket={cores}
NodeName={fragile} NodeHostname=slurmtest NodeAddr=127.0.0.1 Port={first_fragile}-{last_fragile} \
CPUs=4 CoresPerSocket=4
PartitionName=long Nodes={firm} Default=YES MaxTime=1-00:00:00 DefaultTime=01:00:00 State=UP
PartitionName=short Nodes={firm} MaxTime=01:00:00 DefaultTime=00:10:00 State=UP
PartitionName=fragile Nodes={fragile} MaxTime=1-00:00:00 State=UP
PartitionName=closed Nodes={firm} MaxTime=01:00:00 State=INACTIVE
"""

CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainCores=no
ConstrainDevices=no
"""


def wait_until(true: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    """Wait until something holds, and fail when it does not."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.1)


def processes(*words: str, cwd: Path | None = None) -> list[int]:
    """Return the processes whose command line holds these arguments, here or in a cluster."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            here = cwd is None or (folder / "cwd").readlink() == cwd
        except OSError:  # it has ended
            continue
        if here and all(word in arguments for word in words):
            found.append(int(folder.name))
    return found


def remove_cgroups() -> None:
    """Remove the cgroups of nodes in which nothing lives, such as those of killed tests."""
    for top in CGROUPS.glob("*/slurm_p*n*"):
        pid = top.name.removeprefix("slurm_p").partition("n")[0]
        if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists():
            for folder, _, _ in os.walk(top, topdown=False):
                Path(folder).rmdir()


@dataclass
class Cluster:
    """A running cluster.

    The last three of its nodes are a partition ``fragile``, for tests that kill nodes: each has
    room for a job of four cores, so that two such tests do not meet. With many `cores` the others
    take more jobs than this machine could do at once, and none waits for one that stands still.
    """

    folder: Path
    count: int = 5
    cores: int = 4
    memory_mb: int = 8000
    _outer: subprocess.Popen[bytes] | None = None
    _inner: int = 0
    _tag: str = field(default_factory=lambda: f"p{os.getpid()}")

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes, which no other cluster of this machine has."""
        return [f"{self._tag}n{number}" for number in range(1, self.count + 1)]

    @property
    def limits_memory(self) -> bool:
        """Whether jobs are killed by the kernel at their limit of memory."""
        return (CGROUPS / "memory/cgroup.procs").exists()

    def start(self) -> None:
        """Start the daemons and wait until all nodes are idle."""
        for name in ("etc", "log", "state", "spool", "run"):
            (self.folder / name).mkdir(parents=True)
        self._write_configuration()
        spaces = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
        boot = [str(HERE / "boot.sh"), str(self.folder), *self.nodes]
        # Should this process be killed, the cluster goes with it.
        command = ["setpriv", "--pdeathsig", "KILL", *spaces, "--mount-proc", "bash", *boot]
        with (self.folder / "log/boot.out").open("w") as log:
            self._outer = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
        try:
            wait_until(self._find_inner, "the namespaces of the cluster")
            wait_until(lambda: self.up() == set(self.nodes), "all nodes", UP_TIMEOUT_S)
        except (TimeoutError, AssertionError) as error:
            told = self.told()
            self.stop()
            raise AssertionError(f"Slurm did not come up: {error}\n{told}") from None

    def _write_configuration(self) -> None:
        limits = self.limits_memory
        last_firm = FIRST_PORT + self.count - FRAGILE - 1
        values = {
            "folder": self.folder,
            "firm": ",".join(self.nodes[:-FRAGILE]),
            "fragile": ",".join(self.nodes[-FRAGILE:]),
            "first_firm": FIRST_PORT,
            "last_firm": last_firm,
            "first_fragile": last_firm + 1,
            "last_fragile": last_firm + FRAGILE,
            "cores": self.cores,
            "memory_mb": self.memory_mb,
            "tracking": "cgroup" if limits else "linuxproc",
            "task": "cgroup" if limits else "none",
            "gathering": "cgroup" if limits else "linux",
            "kill": "" if limits else ",OverMemoryKill",
        }
        etc = self.folder / "etc"
        (etc / "slurm.conf").write_text(SLURM_CONF.format(**values), encoding="utf-8")
        (etc / "cgroup.conf").write_text(CGROUP_CONF, encoding="utf-8")
        (etc / "hosts").write_text("127.0.0.1 localhost slurmtest\n", encoding="utf-8")

    def _find_inner(self) -> bool:
        assert self._outer is not None
        assert self._outer.poll() is None, "the first process of the cluster ended"
        pid = self._outer.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        self._inner = int(children[0]) if children else 0
        return self._inner != 0

    def told(self) -> str:
        """Return the last lines of all daemons' logs."""
        logs = sorted((self.folder / "log").iterdir())
        tails = [
            (path.name, path.read_text(encoding="utf-8", errors="replace").splitlines()[-4:])
            for path in logs
        ]
        return "\n".join(f"{name}: {line}" for name, lines in tails for line in lines)

    def stop(self) -> None:
        """Kill all that runs in the cluster, and remove the cgroups of its nodes."""
        if self._outer is None:
            return
        self._outer.kill()
        self._outer.wait(30)
        if self._inner:
            wait_until(lambda: not Path(f"/proc/{self._inner}").exists(), "end of the cluster")
        self._outer = None
        remove_cgroups()

    def entering(self, *command: str | Path, cwd: Path | None = None) -> list[str]:
        """Return the command line that runs a command inside of the cluster."""
        spaces = ["--net", "--mount", "--uts", "--pid", "--target", str(self._inner)]
        place = ["env", "--chdir", str(cwd or self.folder)]
        return ["nsenter", *spaces, "--", *place, *map(str, command)]

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
        **more: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside of the cluster, and return how it ended."""
        return subprocess.run(
            self.entering("timeout", "--kill-after=5", str(timeout_s), *command, cwd=cwd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s + 15,
            check=False,
            env=_environment() | more,
        )

    def output(self, *command: str | Path) -> str:
        """Run a command that must end well, and return what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stderr}"
        return done.stdout.strip()

    def begin(
        self, *command: str | Path, cwd: Path, log: Path, **more: str
    ) -> subprocess.Popen[str]:
        """Start a command inside of the cluster; all that it prints goes to `log`.

        The process that is returned is a shell around it, which ends when it does.
        """
        with log.open("w") as stream:
            return subprocess.Popen(
                self.entering(*command, cwd=cwd),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                env=_environment() | more,
            )

    def up(self) -> set[str]:
        """Return the nodes that take jobs or have some."""
        states = "idle,mixed,allocated,completing"
        done = self.run("sinfo", "-h", "-N", "--responding", "-t", states, "-o", "%N", timeout_s=5)
        return set(done.stdout.split())

    def queue(self, states: str = "RUNNING,PENDING,COMPLETING,SUSPENDED") -> dict[str, str]:
        """Return the states of the jobs that are in the queue, by job id."""
        lines = self.output("squeue", "-h", "-t", states, "-o", "%i %T").splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def cancel_all(self) -> None:
        """Cancel all jobs, and wait until they are gone."""
        self.output("scancel", "-u", "root")
        wait_until(lambda: not self.queue(), "an empty queue")

    def node_of(self, job_id: str) -> str:
        """Return the node on which a job runs."""
        return self.output("squeue", "-h", "-j", job_id, "-o", "%N")

    def kill_slurmd(self, node: str) -> None:
        """Kill the daemon of a node; the jobs that it started live on."""
        for pid in processes("slurmd", "-N", node):
            os.kill(pid, signal.SIGKILL)

    def pull_the_plug(self, node: str) -> None:
        """Kill a node with all that runs there."""
        for pid in processes("unshare", "slave", node):  # see node.sh
            os.kill(pid, signal.SIGKILL)

    def restart(self, node: str) -> None:
        """Start a node again that was killed, and kill what lived on there."""
        self.pull_the_plug(node)
        self.output("bash", HERE / "node.sh", self.folder, node)
        wait_until(lambda: node in self.up(), f"node {node}", UP_TIMEOUT_S)


def _environment() -> dict[str, str]:
    """Return the environment without what belongs to pytest, and with our programs first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SLURM_"))}
    return kept | {"PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin"}
