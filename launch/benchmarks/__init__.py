"""Speed and memory, against diffusers with the same weights; scripts/benchmark.py measures a case of configs/case."""
