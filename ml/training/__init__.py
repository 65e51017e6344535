"""Making detectors: finding the training faces, making fakes of them, training, export and evaluation.

Plain Python and torch; run it with ``python -m ml.training``. Serving code never imports this package.
"""

import os

# Without this, waiting threads spin: beside another busy process a step takes six times as long. It must be set
# before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
