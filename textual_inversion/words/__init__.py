"""Learned words in files: ours and those of other tools."""
