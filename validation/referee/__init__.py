"""The referee: observables against theories, for every sampler, with the odds of a false alarm."""
