"""Weights in files: which kind a file is, strict loading, downloads, the layout of diffusers."""
