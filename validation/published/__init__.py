"""Published exponents of a real network, against what a quadratic loss predicts for them."""
