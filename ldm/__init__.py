"""The latent diffusion model of Rombach et al. (CVPR 2022), with the parameter names of its published checkpoint."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]  # contains assets/ (part of the repository) and models/ (downloads)
