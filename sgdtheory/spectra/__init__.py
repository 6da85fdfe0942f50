"""What a spectrum is made from: densities, Ritz values, measured eigenvalues and their tails."""
