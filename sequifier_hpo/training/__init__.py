"""Everything others see of torch: one training run, its data, and its output."""
