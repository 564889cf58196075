"""Benchmarks of speed and memory against diffusers with the same weights. scripts/benchmark.py runs a case of
configs/case."""
