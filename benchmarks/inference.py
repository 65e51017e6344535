"""How long examining a clip takes, beside the reference implementation: ``python -m benchmarks.inference --help``.

Each measurement is a process of its own, ours and the reference in turn, so that both meet the same neighbours on the
machine; take the ratios. The reference is its own code (a checkout of its public repository, --reference), with
``cuda`` replaced by ``cpu`` and names that current libraries no longer have; both run the same checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.detectors.registry import Detector, load_detector
from ml.faces.detection import FaceDetector, ScaleRule
from ml.inference import analyze
from ml.media import frames

ROOT = Path(__file__).parent.parent
MODES = {
    "exact": {"SENTINEL_PRECISION": "float32"},
    "fast": {"SENTINEL_PRECISION": "bfloat16"},
    "default": {"SENTINEL_PRECISION": "float32"},
    "reference": {},
}
# What the reference's inference code needs to run without a GPU and on current libraries.
REPAIRS = {
    "from albumentations.augmentations.functional import image_compression": "",
    "dtype=np.int)": "dtype=int)",
    'device="cuda"': 'device="cpu"',
    ".half()": "",
}


@dataclass
class Clock:
    """Seconds spent in each part."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(part, time.perf_counter() - started)

        return run

    def timed_iteration(self, part: str, iterate: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def run(*args: Any) -> Iterator[Any]:
            items = iterate(*args)
            while True:
                started = time.perf_counter()
                item = next(items, None)
                self.add(part, time.perf_counter() - started)
                if item is None:
                    return
                yield item

        return run

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def measure_ours(clip: Path, weights: list[Path], *, exact: bool, parity: bool) -> dict[str, Any]:
    detector = load_detector("reference-b7", weights=weights, device="cpu") if exact else load_detector(device="cpu")
    finder = FaceDetector(scale_rule=ScaleRule.HALF if parity else ScaleRule.WIDTH)
    # Converting the network happens once a start, not once a clip.
    detector.score([np.zeros((64, 64, 3), dtype=np.uint8)])
    finder.detect([np.zeros((120, 160, 3), dtype=np.uint8)])
    clock = Clock()
    detector.score = clock.timed("classify", detector.score)  # type: ignore[method-assign]
    finder.detect = clock.timed("faces", finder.detect)  # type: ignore[method-assign]
    frames.FrameSampler.__iter__ = clock.timed_iteration(  # type: ignore[method-assign]
        "decode", frames.FrameSampler.__iter__
    )
    started = time.perf_counter()
    result = analyze(clip, detector, face_detector=finder, parity=parity, stability=False)
    total = time.perf_counter() - started
    faces = sum(len(track.faces) for track in result.tracks)
    return {
        "peak_mb": peak_memory(),
        "seconds": total,
        **clock.seconds,
        "score": result.fake_probability,
        "outcome": result.outcome,
        "faces_judged": faces,
        "flops": faces * _flops(detector),
    }


def measure_reference(clip: Path, weights: list[Path], folder: Path) -> dict[str, Any]:
    code = (folder / "kernel_utils.py").read_text(encoding="utf-8")
    for old, new in REPAIRS.items():
        code = code.replace(old, new)
    module = ModuleType("kernel_utils")
    exec(compile(code, "kernel_utils.py", "exec"), module.__dict__)  # noqa: S102
    # The same layers as the reference's own class, in planes as it has them.
    detector = load_detector("reference-b7", weights=weights, device="cpu")
    network = detector.networks[0].to(memory_format=torch.contiguous_format)
    clock = Clock()
    reader = module.VideoReader()
    extractor = module.FaceExtractor(clock.timed("decode", lambda path: reader.read_frames(path, num_frames=32)))
    extractor.process_video = clock.timed("search", extractor.process_video)
    shown: list[int] = []

    def judge(batch: torch.Tensor) -> torch.Tensor:
        shown.append(len(batch))
        logits: torch.Tensor = network(batch)
        return logits

    started = time.perf_counter()
    score = module.predict_on_video(
        extractor, str(clip), 32, 380, [clock.timed("classify", judge)], strategy=module.confident_strategy
    )
    total = time.perf_counter() - started
    if not shown:
        raise SystemExit(f"the reference judged no face of {clip}")
    parts = clock.seconds
    return {
        "peak_mb": peak_memory(),
        "seconds": total,
        "decode": parts["decode"],
        "faces": parts["search"] - parts["decode"],
        "classify": parts["classify"],
        "score": float(score),
        "faces_judged": sum(shown),
        "flops": sum(shown) * _flops(detector),
    }


def peak_memory() -> float:
    """The most that this process held at once so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _flops(detector: Detector) -> int:
    """Floating-point operations for one face, over all networks."""
    size = detector.spec.preprocessing.input_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        for network in detector.networks:
            network(torch.zeros(1, 3, size, size))
    return int(counter.get_total_flops())


def matrix_peak(seconds: float = 1.0) -> float:
    """Operations a second of a large float32 matrix product: what this machine can do at best, now."""
    left, right = torch.rand(2, 2048, 2048)
    left @ right
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        left @ right
        best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
    return best


def run_apart(mode: str, clip: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inference", "--child", mode, "--clips", str(clip)]
    command += ["--weights", *map(str, options.weights)] if options.weights else []
    command += ["--reference", str(options.reference)] if options.reference else []
    environment = {**os.environ, **MODES[mode], "SENTINEL_ENGINE_CACHE_DIR": options.cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def child(options: argparse.Namespace) -> None:
    (clip,) = options.clips
    if options.child == "reference":
        found = measure_reference(clip, options.weights, options.reference)
    else:
        is_default = options.child == "default"
        found = measure_ours(clip, options.weights, exact=not is_default, parity=not is_default)
    found["peak_share"] = found.pop("flops") / found["classify"] / matrix_peak() if found.get("classify") else 0.0
    print(json.dumps(found))


def compare(options: argparse.Namespace) -> None:
    possible = (["reference"] if options.reference else []) + (["exact", "fast"] if options.weights else [])
    modes = [mode for mode in [*possible, "default"] if mode in (options.modes or MODES)]
    for clip in options.clips:
        runs: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
        for _ in range(options.runs):
            for mode in modes:
                runs[mode].append(run_apart(mode, clip, options))
        print(f"\n{clip.name}")
        print(
            f"{'':10} {'s/clip':>8} {'decode':>7} {'faces':>7} {'class.':>7} {'peak MB':>8} {'of peak':>8} {'score':>8}"
        )
        for mode, found in runs.items():
            middle = {
                key: statistics.median(run.get(key, 0.0) for run in found)
                for key in ("seconds", "decode", "faces", "classify", "peak_mb", "peak_share")
            }
            score = found[0]["score"]
            row = (
                f"{mode:10} {middle['seconds']:8.2f} {middle['decode']:7.2f} {middle['faces']:7.2f} "
                f"{middle['classify']:7.2f} {middle['peak_mb']:8.0f} {middle['peak_share']:8.0%} "
                f"{'-' if score is None else format(score, '8.4f')}"
            )
            if "reference" in runs and mode != "reference":
                # Each run beside the reference's run of the same round.
                pairs = list(zip(runs["reference"], found, strict=True))
                total = statistics.median(theirs["seconds"] / ours["seconds"] for theirs, ours in pairs)
                faces = statistics.median(theirs["faces"] / ours["faces"] for theirs, ours in pairs)
                row += f"   {total:.1f} times faster, faces {faces:.1f} times"
            print(row, flush=True)


def drift(options: argparse.Namespace) -> None:
    """Exact and fast mode on every file of a folder: how far the scores are apart."""
    files = sorted(path for path in options.drift.rglob("*") if path.suffix in {".mp4", ".avi", ".mov", ".webm"})
    apart = []
    finder = FaceDetector()
    detectors = {}
    for mode in ("exact", "fast"):
        os.environ.update(MODES[mode])
        name = "reference-b7" if options.weights else None
        chosen = load_detector(name, weights=options.weights) if name else load_detector()
        chosen.score([np.zeros((64, 64, 3), dtype=np.uint8)])
        detectors[mode] = chosen
    for path in files:
        exact, fast = (
            analyze(path, detectors[mode], face_detector=finder, stability=False) for mode in ("exact", "fast")
        )
        if exact.fake_probability is None or fast.fake_probability is None:
            print(f"{path.name:40} {exact.outcome} {fast.outcome}")
            continue
        apart.append(abs(exact.fake_probability - fast.fake_probability))
        same = "same verdict" if exact.outcome is fast.outcome else f"{exact.outcome} → {fast.outcome}"
        print(
            f"{path.name:40} {exact.fake_probability:.4f} {fast.fake_probability:.4f} {apart[-1]:.4f} {same}",
            flush=True,
        )
    if apart:
        print(f"{len(apart)} files: largest {max(apart):.4f}, mean {statistics.mean(apart):.4f}")


def memory(options: argparse.Namespace) -> None:
    """Memory of one process over many analyses, in megabytes."""
    detector = load_detector("reference-b7", weights=options.weights) if options.weights else load_detector()
    finder = FaceDetector()
    process = psutil.Process()
    for number in range(options.memory + 1):
        if number % max(options.memory // 10, 1) == 0:
            print(f"after {number:4} analyses: {process.memory_info().rss / 2**20:6.0f} MB", flush=True)
        analyze(options.clips[number % len(options.clips)], detector, face_detector=finder)


def made_clips(folder: Path) -> list[Path]:
    """A face at 720p and 1080p, for those who have no clips at hand."""
    from tests.media_factory import make_face_video

    fast = {"options": {"preset": "veryfast"}, "fps": 30}
    return [
        make_face_video(folder / "720p-13s.mp4", size=(1280, 720), zoom=2.5, seconds=13, **fast),
        make_face_video(folder / "1080p-60s.mp4", size=(1920, 1080), zoom=3.5, seconds=60, **fast),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", nargs="+", type=Path, default=[], help="default: made on the spot")
    parser.add_argument("--weights", nargs="+", type=Path, default=[], help="checkpoints of reference-b7")
    parser.add_argument("--reference", type=Path, help="folder of a checkout of the reference")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="default: all that weights and reference allow")
    parser.add_argument("--runs", type=int, default=3, help="rounds; medians are printed")
    parser.add_argument(
        "--drift", type=Path, metavar="FOLDER", help="compare exact and fast mode on these files instead"
    )
    parser.add_argument("--memory", type=int, metavar="N", help="memory over N analyses in one process instead")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.cache = os.environ.get("SENTINEL_ENGINE_CACHE_DIR", folder)
        if options.drift:
            drift(options)
            return
        options.clips = options.clips or made_clips(Path(folder))
        if options.child:
            child(options)
        elif options.memory:
            memory(options)
        else:
            compare(options)


if __name__ == "__main__":
    main()
