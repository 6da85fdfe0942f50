"""A network past convergence: predicted from what is measured before, recorded, then compared."""
