"""Metadata of originals: one reader for each source of facts, put together in readers.py."""
