"""Train one job in several processes. Each process gets the resolved config of the job, never the command line."""

import logging
import os
import signal
import sys
import uuid
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ldm.errors import UserError, require_whole
from ldm.training.resumption import SIGNALS, Preempted

log = logging.getLogger("train")


def started_together() -> bool:
    """Return whether torchrun or srun has started the processes."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", 1)) > 1


def device_count(config: DictConfig) -> int:
    """Return the number of processes that this job must start on this machine; 1 means that it runs in this process."""
    if started_together():
        return 1
    devices = config.trainer.get("devices", 1)
    if devices in ("auto", -1):
        return max(1, torch.cuda.device_count())
    require_whole("trainer.devices", devices, 1)
    return devices


def process_count(config: DictConfig) -> int:
    """Return the number of processes that train this job, on all machines."""
    if started_together():
        return int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1)))
    return device_count(config)


def run_together(config: DictConfig, count: int) -> None:
    """Train in `count` processes. If one fails, the others are ended and UserError is raised."""
    if config.trainer.get("num_nodes", 1) > 1:
        raise UserError("trainer.num_nodes > 1: start one process per device with srun or torchrun on every node.")
    path = Path(config.paths.run) / "config.yaml"
    OmegaConf.save(config, path, resolve=True)
    settings = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, max_restarts=0, monitor_interval=0.2,
        rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1",
        signals_to_handle=",".join(name for name in SIGNALS if hasattr(signal, name)),
    )  # fmt: skip
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    try:
        elastic_launch(settings, sys.executable)("-m", "launch.rank", str(path))
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        raise UserError(
            f"process {number} of {count} ended with exit code {failure.exitcode}; its log is above. Run the same "
            f"command again to continue from the last checkpoint."
        ) from None
    except SignalException as error:
        raise Preempted(error.sigval.name, f"with all {count} processes") from error
