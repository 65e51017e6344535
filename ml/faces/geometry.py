"""Crop geometry of the reference detector (the winning DFDC solution), generalised to any padding and size.

Pixel arithmetic follows the reference to the last truncation, since scores depend on it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.contracts import Box

Image = NDArray[np.uint8]

# The reference pads a third of the box on each side, with integer division.
REFERENCE_PADDING = 3


# Beyond the reference's widths, faces are searched at this size: a 100-megapixel photo at a third would take minutes.
WIDEST_SEARCH = 1584


def detection_scale(width: int) -> float:
    """Scale at which faces are searched in a frame whose wider side is ``width`` pixels."""
    if width < 300:
        return 2.0
    if width <= 1000:
        return 1.0
    if width <= 1900:
        return 0.5
    return min(0.33, WIDEST_SEARCH / width)


def pad_box(box: Box, frame_width: int, frame_height: int, divisor: float = REFERENCE_PADDING) -> Box:
    """Grow ``box`` by height // divisor and width // divisor on each side, clipped to the frame."""
    pad_y = int(box.height // divisor)
    pad_x = int(box.width // divisor)
    return Box(
        max(box.x1 - pad_x, 0),
        max(box.y1 - pad_y, 0),
        min(box.x2 + pad_x, frame_width),
        min(box.y2 + pad_y, frame_height),
    )


def crop_face(frame: Image, box: Box, divisor: float = REFERENCE_PADDING) -> Image:
    """Cut the padded box out of an RGB frame of shape (height, width, 3); a view, not a copy."""
    padded = pad_box(box, frame.shape[1], frame.shape[0], divisor)
    return frame[max(padded.y1, 0) : padded.y2, max(padded.x1, 0) : padded.x2]


def resize_isotropically(image: Image, size: int, *, down: int = cv2.INTER_AREA, up: int = cv2.INTER_CUBIC) -> Image:
    """Resize so that the longer side is ``size`` pixels, the other truncated.

    ``down`` and ``up`` are OpenCV's interpolations for shrinking and for enlarging.
    """
    height, width = image.shape[:2]
    if max(width, height) == size:
        return image
    scale = size / max(width, height)
    # Computed as the reference does: the longer side is set, not multiplied, so that it is exactly `size`.
    new_width, new_height = (size, int(height * scale)) if width > height else (int(width * scale), size)
    interpolation = up if scale > 1 else down
    resized = cv2.resize(image, (max(new_width, 1), max(new_height, 1)), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


def pad_to_square(image: Image, size: int) -> Image:
    """Centre ``image`` on a black square of ``size`` pixels; offsets are truncated."""
    height, width = image.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    square = np.zeros((size, size, 3), dtype=np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def fit_face(image: Image, size: int) -> Image:
    """Crop of any shape → (size, size, 3) uint8 RGB, aspect ratio kept, black bars."""
    return pad_to_square(resize_isotropically(image, size), size)
