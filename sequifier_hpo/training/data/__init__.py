"""Stored windows: read once, kept in memory, served in batches."""
