"""Scores the weights of a model: what its images of held-out and of other prompts show, how far they are from renders,
and how well it learns words."""
