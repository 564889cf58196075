"""The latent diffusion model of Rombach et al. (CVPR 2022) under the names of its published checkpoint."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # holds assets/, which ships with the code, and models/, downloaded
