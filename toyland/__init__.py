"""Toyland, a procedural world of captioned toys. The small models of this project are trained on its images."""
