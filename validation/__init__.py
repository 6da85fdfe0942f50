"""Checks the theory against training by torch.optim.SGD; run from a checkout, not installed."""
