"""Sweeps, srun and pre-emption with a real SLURM of two nodes on this machine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from tests.runs import vectors

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
DAEMONS = ("munged", "slurmctld", "slurmd", "srun")
STEPS = 60
JOB = ["experiment=cat_toy", "debug=tiny", f"trainer.max_steps={STEPS}", "trainer.val_check_interval=20"]
JOB += ["callbacks.checkpoint.every_steps=5", "callbacks.previews.at_steps=[]", "~callbacks.sheet"]
OF_THIS_CLUSTER = ["slurm.gpus=null", "slurm.memory=null", "slurm.cpus=1", "slurm.time=10"]

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1
JobRequeue=1
KillWait=10
ReturnToService=2
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[16801-16802] CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    missing = [name for name in DAEMONS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    if missing:
        return f"SLURM is not installed: no {', '.join(missing)} (apt-get install slurm-wlm slurmctld slurmd munge)"
    if os.getuid() != 0:
        return "SLURM's daemons are started as root"
    return None


@pytest.fixture(scope="module")
def slurm():
    """The environment variables with which srun, sbatch and submitit find the cluster."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    folder.chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
    environment |= {"PYTHON": sys.executable}  # of docs/cluster/train.sbatch
    environment |= {"PATH": f"{os.environ['PATH']}:/usr/sbin", "MASTER_ADDR": "127.0.0.1"}
    (folder / "slurm.conf").write_text(CONFIG.format(host=socket.gethostname(), folder=folder))
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    names = {name: f"--{name}={folder}/munge.{name}" for name in ("socket", "pid-file", "log-file", "seed-file")}
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *names.values()],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "n1"],
        ["slurmd", "-D", "-N", "n2"],
    ]
    started = []
    try:
        for daemon in daemons:
            with (folder / f"{len(started)}.log").open("w") as said:
                started.append(subprocess.Popen(daemon, env=environment, stdout=said, stderr=said))
            time.sleep(1.0)
        for _ in range(60):
            nodes = subprocess.run(
                ["timeout", "5", "sinfo", "-h", "-N", "-t", "idle"], env=environment, capture_output=True, text=True
            ).stdout
            if len(nodes.splitlines()) == 2:
                break
            time.sleep(0.5)
        else:
            raise RuntimeError((folder / "slurmctld.log").read_text()[-2000:])
        yield environment
    finally:
        subprocess.run(["timeout", "5", "scancel", "-u", "root"], env=environment, check=False)
        for process in reversed(started):
            process.terminate()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def run(call: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["timeout", "300", *call], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def train(*arguments: str) -> list[str]:
    return [sys.executable, "scripts/train.py", *JOB, *arguments]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, slurm):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(train("module.batch_size=4", f"hydra.run.dir={folder}"), slurm)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_sweep_is_an_array_of_jobs(slurm, undisturbed, tmp_path):
    sweep = ["launcher=slurm", *OF_THIS_CLUSTER, "module.batch_size=4", "optim.lr=0.02,0.01,0.03"]
    done = run(train(*sweep, f"hydra.sweep.dir={tmp_path}"), slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    states = [json.loads((tmp_path / job / "job.json").read_text())["state"] for job in "012"]
    assert states == ["finished"] * 3 and "all 3 jobs are finished" in done.stdout
    assert torch.equal(vectors(tmp_path / "1"), vectors(undisturbed))


def test_srun_starts_processes_that_train_together(slurm, undisturbed, tmp_path):
    together = ["trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", "module.batch_size=2"]
    done = run(["srun", "-N2", "--ntasks-per-node=1", *train(*together, f"hydra.run.dir={tmp_path}")], slurm)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (vectors(tmp_path) - vectors(undisturbed)).norm() < 1e-6 * vectors(undisturbed).norm()


@pytest.mark.parametrize("how", ["pre-empted", "told by SIGUSR1"])
def test_a_job_that_has_to_go_is_queued_again_and_ends_in_the_same_vectors(slurm, undisturbed, tmp_path, how):
    options = ["--gpus=0", "--mem=0", "--cpus-per-task=1", "--time=10", f"--output={tmp_path}/slurm.log"]
    job = [*JOB, "module.batch_size=4", f"hydra.run.dir={tmp_path / 'run'}"]
    call = ["sbatch", "--parsable", *options, "docs/cluster/train.sbatch", *job]
    number = run(call, slurm).stdout.strip()
    wait_until(lambda: (tmp_path / "run" / "last.ckpt").exists())
    if how == "pre-empted":
        run(["scontrol", "requeue", number], slurm)
    else:
        run(["scancel", "--signal=USR1", number], slurm)
    wait_until(lambda: not run(["squeue", "-h", "-j", number], slurm).stdout.strip())
    said = (tmp_path / "run" / "train.log").read_text(encoding="utf-8")
    assert "stopped at step" in said and "resuming from" in said, (tmp_path / "slurm.log").read_text()
    assert torch.equal(vectors(tmp_path / "run"), vectors(undisturbed))


def test_a_pack_that_has_to_go_is_queued_again(slurm, tmp_path):
    options = ["--gpus=0", "--mem=0", "--cpus-per-task=1", "--time=10", f"--output={tmp_path}/slurm.log"]
    sweep = ["launcher=packed", "optim.lr=0.01,0.02", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    call = ["sbatch", "--parsable", *options, "docs/cluster/train.sbatch", *JOB, *sweep]
    number = run(call, slurm).stdout.strip()
    wait_until(lambda: (tmp_path / "sweep" / "0" / "last.ckpt").exists())
    run(["scancel", "--signal=USR1", number], slurm)
    wait_until(lambda: not run(["squeue", "-h", "-j", number], slurm).stdout.strip())
    said = (tmp_path / "slurm.log").read_text(encoding="utf-8")
    assert "stopped at step" in said and "resuming 2 runs" in said and "all 2 jobs are finished" in said, said


def wait_until(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.25)
    raise TimeoutError
