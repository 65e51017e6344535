"""Loads detectors by name and runs them on faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ml.contracts import AnalysisError, ErrorCode
from ml.detectors.catalog import DEFAULT_DETECTOR, find_detector, verified_weights
from ml.detectors.checkpoints import load_network
from ml.detectors.network import Network, to_input
from ml.detectors.runner import Runner
from ml.detectors.spec import DetectorSpec
from ml.faces.geometry import fit_face

Crop = NDArray[np.uint8]


class Detector:
    """One network, or an ensemble of the same kind, that gives faces a fake probability. Not thread-safe."""

    def __init__(
        self,
        spec: DetectorSpec,
        networks: Sequence[Network],
        weights_sha256: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> None:
        if not networks or len(networks) != len(weights_sha256):
            raise ValueError("one digest for each of at least one network")
        self.spec = spec
        self.weights_sha256 = tuple(weights_sha256)
        self.device = torch.device(device)
        self.networks = [
            network.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            for network in networks
        ]
        self._runner: Runner | None = None

    @property
    def parameters(self) -> int:
        """Of all networks together: tells how long judging takes beside finding faces."""
        return sum(parameter.numel() for network in self.networks for parameter in network.parameters())

    @property
    def runner(self) -> Runner:
        """Built when first needed, since a network may be converted for it."""
        if self._runner is None:
            self._runner = Runner(self.networks, self.weights_sha256, self.spec.preprocessing, self.device)
        return self._runner

    def score(self, crops: Sequence[Crop], *, photo: bool = False) -> NDArray[np.float32]:
        """Fake probabilities (networks, faces) in [0, 1] of padded face crops: RGB uint8 (height, width, 3), any size.

        `photo`: they are from photos, and judged with their mirror images if the spec says so.
        Of several outputs the largest counts. The same face gets the same score in whatever batch it comes, up to
        rounding in the last digits of a float32. Raises AnalysisError(MODEL_UNAVAILABLE) if a score is not a number.
        """
        if not crops:
            return np.zeros((len(self.networks), 0), dtype=np.float32)
        scores = self.runner.probabilities(self._fit(crops), mirrored=photo and self.spec.mirrored_photos)
        if not np.isfinite(scores).all():
            raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"{self.spec.name}: a score is not a number")
        return scores

    def heat_map(self, crop: Crop) -> NDArray[np.float32]:
        """Where in the crop the evidence for the winning output lies: (height, width) in [0, 1], over all networks.

        The class activation map: with average pooling and one linear layer it is the logit's exact sum over places.
        Negative evidence counts as none. All zero where nothing speaks for a fake.
        """
        height, width = crop.shape[:2]
        total = np.zeros((height, width), dtype=np.float32)
        with torch.inference_mode():
            settings = self.spec.preprocessing
            pixels = torch.from_numpy(self._fit([crop])).to(self.device)
            faces = to_input(pixels, settings.mean, settings.std).contiguous(memory_format=torch.channels_last)
            for network in self.networks:
                features = [member.encoder.forward_features(faces) for member in network.members]
                pairs = list(zip(network.members, features, strict=True))
                logits = torch.stack([member.fc(maps.mean(dim=(2, 3))) for member, maps in pairs]).sum(dim=0)
                winner = int(logits.argmax(dim=1))
                for member, maps in pairs:
                    places = torch.einsum("c,nchw->nhw", member.fc.weight[winner], maps)[0]
                    total += self._unfit(places.float().cpu().numpy(), width, height)
        # Evidence of one network against a fake counts against that of another for it.
        total = total.clip(min=0)
        highest = float(total.max())
        return total / highest if highest > 0 else total

    def _fit(self, crops: Sequence[Crop]) -> NDArray[np.uint8]:
        return np.stack([fit_face(crop, self.spec.preprocessing.input_size) for crop in crops])

    def _unfit(self, places: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """A map over the square input → over the crop: enlarge, cut the bars off, stretch."""
        size = self.spec.preprocessing.input_size
        square = cv2.resize(places, (size, size), interpolation=cv2.INTER_LINEAR)
        longer = max(width, height)
        inner_width, inner_height = max(size * width // longer, 1), max(size * height // longer, 1)
        left, top = (size - inner_width) // 2, (size - inner_height) // 2
        inner = square[top : top + inner_height, left : left + inner_width]
        return np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def load_detector(
    name: str = DEFAULT_DETECTOR,
    *,
    weights: Sequence[Path] = (),
    device: torch.device | str | None = None,
    search: Sequence[Path] = (),
) -> Detector:
    """A detector by name, ready to score.

    `weights` are checkpoint files of its architecture to use instead of its own, several for an ensemble. Without
    them a detector uses the file in its folder or else what was fetched into SENTINEL_WEIGHTS_DIR. The SHA-256 of
    every file is compared with the spec's or the recorded one. `device` is a GPU if there is one, else the CPU.
    Raises AnalysisError(MODEL_UNAVAILABLE): name unknown, file missing, digest or content wrong, no such device. It
    never returns an untrained network.
    """
    listed = find_detector(name, search)
    spec, found = listed.spec, verified_weights(listed, weights)
    chosen = device if device is not None else ("cuda" if torch.cuda.is_available() else "cpu")
    networks = [load_network(spec, path) for path, _digest in found]
    try:
        return Detector(spec, networks, [digest for _path, digest in found], chosen)
    except (RuntimeError, AssertionError) as error:
        # Torch's words for a device that there is not, or of a kind that it was built without.
        raise AnalysisError(ErrorCode.MODEL_UNAVAILABLE, f"device {chosen}: {error}") from error
