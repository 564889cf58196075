"""The networks of the latent diffusion model: UNet, first stages, text encoders, and what they are made of."""
