"""Detection of fabricated faces in videos and photos.

Plain Python, NumPy and PyTorch: nothing in here knows of Django, and importing this package
(or :mod:`ml.contracts`, :mod:`ml.media`) does not import torch.
"""

import os

# torch's worker threads otherwise spin while they wait. Where two processes share the cores (two workers, or a worker
# and a training) that made finding faces four to five times slower on two cores. Read when torch is loaded, so it is
# set before; what the environment says goes first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
