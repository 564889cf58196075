"""Toyland: a procedural, captioned world of toys. The small models of this project are trained on its pictures."""
