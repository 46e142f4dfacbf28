"""Answers that stand in a text, and whether one does."""
