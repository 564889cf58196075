"""The networks of the latent diffusion model: UNet, first stages, text encoders, and their layers."""
