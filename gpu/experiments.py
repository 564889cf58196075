"""The experiments on one GPU: several processes, each with the cells of some of the toys, then one that draws all the
figures, until the time is over. Run it again with the same cells to go on.

python gpu/experiments.py --budget pilot --cells $C --images $I --out $O --until 540
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STARTED = float(os.environ.get("STARTED", time.time()))
BY_TOY = "distortion_editability,home,inversions,set_size,beyond"  # the other figures generate their images anew
FIGURES = {"pilot": f"pilot,{BY_TOY}", "full": BY_TOY}


def concepts_of(budget):
    from omegaconf import OmegaConf

    files = [OmegaConf.load(f"configs/budget/{name}.yaml") for name in ("full", budget)]
    merged = OmegaConf.merge(files[0], files[1].get("budget", files[1]))
    return list(merged.concepts)


def command(given, figures, run, concepts):
    shared = [f"budget={given.budget}", f"cells={given.cells}", f"images={given.images}", f"budget.pack={given.pack}"]
    evaluate = [f"batch_size={given.batch}", *filter(None, given.evaluate.split(","))]
    for name, values in (("evaluate", evaluate), ("learn", list(filter(None, given.learn.split(","))))):
        quoted = ",".join(f"'{value}'" for value in values)
        shared.append(f"{name}=[{quoted}]")
    named = [f"budget.concepts=[{','.join(concepts)}]"] if concepts else []
    named += ["figures.beyond.timed=false"] if concepts else []  # alone, and not beside other processes
    return [sys.executable, "scripts/reproduce.py", f"figure=[{figures}]", *shared, *named, f"hydra.run.dir={run}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", choices=list(FIGURES), required=True)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--until", type=float, required=True, help="seconds since STARTED")
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--pack", type=int, default=24)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--figures", help="others than those of the budget")
    parser.add_argument("--evaluate", default="", help="for trying it out: sampler.steps=2")
    parser.add_argument("--learn", default="", help="for trying it out: trainer.max_steps=2")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    toys = concepts_of(given.budget)
    groups = [toys[i :: given.processes] for i in range(min(given.processes, len(toys)))]
    phases = [[(given.figures or FIGURES[given.budget], group) for group in groups], [("all", [])]]
    for phase, jobs in enumerate(phases if not given.figures else phases[:1]):
        running = {}
        for i, (figures, group) in enumerate(jobs):
            log = (given.out / f"{phase}-{i}.log").open("w")
            run = given.out / f"run-{phase}-{i}"
            running[i] = subprocess.Popen(command(given, figures, run, group), stdout=log, stderr=log)
        while any(process.poll() is None for process in running.values()):
            if time.time() - STARTED > given.until:
                for process in running.values():
                    process.send_signal(signal.SIGTERM)
                time.sleep(8)
                for process in running.values():
                    process.kill()
                print("time is over in phase", phase, flush=True)
                return
            time.sleep(0.5)
        print(f"{time.time() - STARTED:.0f} s: phase {phase} ends with", [p.returncode for p in running.values()], flush=True)


if __name__ == "__main__":
    main()
