"""Configuration files: read, checked and typed."""
