"""Reproduces the figures of the paper. `cells` learns and evaluates words; each figure defines its cells, draws their
results, and judges the paper's claims by them."""
