"""How good a model file is on a split: its loss as in the search, and what people ask next."""
