"""Textual inversion (Gal et al. 2022): new words for a frozen latent diffusion model, learned from a few pictures."""
