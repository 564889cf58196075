"""The jobs of test_many_gpus.py: the first lines of scripts/train.py, then a record of the GPU instead of a training.

python tests/launch/gpu_job.py launcher=joblib 'seed=range(0,64)'
"""

import json
import os
import signal
import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from launch import gpus, plugins
from launch.command import command, start
from ldm.errors import UserError

FAILS, IS_KILLED, LASTS = 13, 101, 200  # seeds


@hydra.main(version_base="1.3", config_path="../../configs", config_name="train")
@command
def main(config: DictConfig) -> None:
    begin = time.monotonic()
    if config.own_gpu:
        gpus.take_one()
    if config.seed == FAILS:
        raise UserError("this job fails.")
    record = Path(config.paths.run) / "gpu.json"
    if config.seed == IS_KILLED and not record.exists():
        record.write_text("{}")
        os.kill(os.getpid(), signal.SIGKILL)
    if config.seed >= LASTS:
        time.sleep(60.0)
    time.sleep(0.4 if config.seed % 8 else 1.2)  # the jobs of a sweep do not end together
    seen = {"gpu": os.environ["CUDA_VISIBLE_DEVICES"], "begin": begin, "end": time.monotonic()}
    record.write_text(json.dumps(seen))


if __name__ == "__main__":
    plugins.register()
    start(main, __doc__)
