"""The latent diffusion model of Rombach et al. (CVPR 2022) under the names of its published checkpoint."""
