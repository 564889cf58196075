"""Weights in files: detecting file formats, strict loading, downloads, conversion to and from diffusers."""
