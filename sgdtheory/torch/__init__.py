"""From a PyTorch training to its theory: model, loss, loader and optimizer in, a `Predictor` out.

import sgdtheory.torch; `import sgdtheory` alone does not load PyTorch.
"""

from sgdtheory.torch.analysis import analyze, measure
from sgdtheory.torch.measurement import Measurement

__all__ = ["Measurement", "analyze", "measure"]
