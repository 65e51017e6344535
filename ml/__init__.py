"""Detection of fabricated faces in videos and photos.

Plain Python, NumPy and PyTorch: nothing in here knows of Django, and importing this package
(or :mod:`ml.contracts`, :mod:`ml.media`) does not import torch.
"""

__version__ = "0.1.0"
