"""Encrypted memory: records and vectors that never touch a disk in clear."""
