"""Side-by-side speed, runnable by anyone from a checkout: python -m validation.benchmarks."""
