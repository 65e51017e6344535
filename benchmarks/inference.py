"""How long examining a clip takes, beside the reference implementation: ``python -m benchmarks.inference --help``.

Each measurement is a process of its own, ours and the reference in turn, so that both meet the same neighbours on the
machine; take the ratios. Seconds by part are those of each part alone: ours run side by side. The reference is its own
code (a checkout of its public repository, --reference), with ``cuda`` replaced by ``cpu`` and names that current
libraries no longer have; both run the same checkpoint.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.contracts import FaceScore
from ml.detectors.registry import Detector, load_detector
from ml.events import FrameSearched
from ml.faces.detection import FaceDetector, ScaleRule
from ml.faces.geometry import crop_face
from ml.inference import analyze
from ml.media.frames import sample_frames

ROOT = Path(__file__).parent.parent
MODES = {
    "exact": {"SENTINEL_PRECISION": "float32"},
    "fast": {"SENTINEL_PRECISION": "bfloat16"},
    "default": {"SENTINEL_PRECISION": "float32"},
    "reference": {},
}
PARTS = ("decode", "faces", "classify")
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

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def measure_ours(clip: Path, weights: list[Path], *, exact: bool, parity: bool) -> dict[str, Any]:
    detector = load_detector("reference-b7", weights=weights, device="cpu") if exact else load_detector(device="cpu")
    finder = FaceDetector(scale_rule=ScaleRule.HALF if parity else ScaleRule.WIDTH)
    # Converting the network happens once a start, not once a clip.
    detector.score([np.zeros((64, 64, 3), dtype=np.uint8)])
    finder.detect([np.zeros((120, 160, 3), dtype=np.uint8)])
    started = time.perf_counter()
    first: list[float] = []
    result = analyze(
        clip,
        detector,
        face_detector=finder,
        parity=parity,
        stability=False,
        on_event=lambda event: first.append(time.perf_counter()) if isinstance(event, FrameSearched) else None,
    )
    total = time.perf_counter() - started
    peak_mb = peak_memory()
    faces = sum(len(track.faces) for track in result.tracks)
    return {
        "peak_mb": peak_mb,
        "seconds": total,
        "first": first[0] - started,
        **measure_parts(clip, detector, finder, [seen for track in result.tracks for seen in track.faces]),
        "score": result.fake_probability,
        "outcome": result.outcome,
        "faces_judged": faces,
        "flops": faces * _flops(detector),
    }


def measure_parts(clip: Path, detector: Detector, finder: FaceDetector, judged: list[FaceScore]) -> dict[str, float]:
    """Seconds for each part alone; in an analysis they run side by side, so that their sum is more than the whole."""
    clock = Clock()
    pictures = clock.timed("decode", sample_frames)(clip)
    clock.timed("faces", finder.detect)([picture.pixels for picture in pictures])
    by_index = {picture.index: picture.pixels for picture in pictures}
    divisor = detector.spec.preprocessing.padding_divisor
    crops = [crop_face(by_index[face.frame], face.box, divisor) for face in judged]
    clock.timed("classify", detector.score)(crops)
    return clock.seconds


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
        columns = ("s/clip", "first", "decode", "faces", "class.", "peak MB", "of peak", "score")
        print(f"{'':10}" + "".join(f"{column:>9}" for column in columns))
        for mode, found in runs.items():
            middle = {
                key: statistics.median(run.get(key, 0.0) for run in found)
                for key in ("seconds", "first", *PARTS, "peak_mb", "peak_share")
            }
            score = found[0]["score"]
            row = f"{mode:10}" + "".join(f"{middle[key]:9.2f}" for key in ("seconds", "first", *PARTS))
            row += f"{middle['peak_mb']:9.0f}{middle['peak_share']:9.0%}{'-' if score is None else f'{score:.4f}':>9}"
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
    """Memory of one process over many analyses, in megabytes. Compressed copies only by default: a B7 takes long."""
    detector = load_detector("reference-b7", weights=options.weights) if options.weights else load_detector()
    finder = FaceDetector()
    process = psutil.Process()
    for number in range(options.memory + 1):
        if number % max(options.memory // 10, 1) == 0:
            print(f"after {number:4} analyses: {process.memory_info().rss / 2**20:6.0f} MB", flush=True)
        clip = options.clips[number % len(options.clips)]
        analyze(clip, detector, face_detector=finder, stability=not options.weights)
    print(f"at most {peak_memory():.0f} MB")


def lengths(options: argparse.Namespace, folder: Path) -> None:
    """Time against the length of a 720p clip: all but decoding should stay the same."""
    detector = load_detector("reference-b7", weights=options.weights) if options.weights else load_detector()
    finder = FaceDetector()
    clips = {seconds: made_clip(folder / f"{seconds}s.mp4", (1280, 720), seconds) for seconds in (5, 15, 30, 60)}
    analyze(clips[5], detector, face_detector=finder, stability=False)
    print(f"{'':5} {'s/clip':>7} {'decode':>7} {'faces':>7} {'class.':>7}")
    for seconds, clip in clips.items():
        best: dict[str, float] = {}
        for _ in range(options.runs):
            started = time.perf_counter()
            result = analyze(clip, detector, face_detector=finder, stability=False)
            total = time.perf_counter() - started
            parts = measure_parts(clip, detector, finder, [seen for track in result.tracks for seen in track.faces])
            for part, taken in {"seconds": total, **parts}.items():
                best[part] = min(best.get(part, taken), taken)
        print(
            f"{seconds:3} s {best['seconds']:7.2f} {best['decode']:7.2f} {best['faces']:7.2f} {best['classify']:7.2f}",
            flush=True,
        )


def made_clips(folder: Path) -> list[Path]:
    """A face at 720p and 1080p, for those who have no clips at hand."""
    return [
        made_clip(folder / "720p-13s.mp4", (1280, 720), 13),
        made_clip(folder / "1080p-60s.mp4", (1920, 1080), 60),
    ]


def made_clip(path: Path, size: tuple[int, int], seconds: int) -> Path:
    from tests.media_factory import make_face_video

    zoom = 3.5 if size[0] > 1280 else 2.5
    return make_face_video(path, size=size, zoom=zoom, seconds=seconds, options={"preset": "veryfast"}, fps=30)


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
    parser.add_argument("--lengths", action="store_true", help="time against the clip's length instead")
    parser.add_argument("--child", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.cache = os.environ.get("SENTINEL_ENGINE_CACHE_DIR", folder)
        if options.drift:
            drift(options)
            return
        if options.lengths:
            lengths(options, Path(folder))
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
