"""The network: a causal transformer over windows of categorical and real columns."""
