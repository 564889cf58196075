"""Scores the weights of a model: what its images of held-out prompts show, how far they are from renders, and how well
it learns words."""
