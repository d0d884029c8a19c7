"""From a snapshot of a study to what a reader wants to see: plain values, then files."""
