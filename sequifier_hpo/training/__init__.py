"""All that others see of torch: one training run, its data, and what it leaves behind."""
