"""Exponents and spectra from measured displacement curves, with errors that know the path."""
