"""Stored windows: read once, kept in memory, dealt out in batches."""
