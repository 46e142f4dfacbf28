"""Folders into memory: read, chunk, follow changes."""
