"""Learned words in files, in our format and those of other tools."""
