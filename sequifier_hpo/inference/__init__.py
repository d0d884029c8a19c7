"""Use of trained models: what a model file says about itself, predictions for new events."""
