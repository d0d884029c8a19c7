"""From a snapshot of a study to what readers want to see: plain values, then files."""
