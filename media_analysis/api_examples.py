"""Long examples for the schema: a finished result and a detector."""

from __future__ import annotations

from typing import Any

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WEIGHTS = "6f1ed002ab5595859014ebf0951522d9a2f6dcf1a2b4d3c4e5f60718293a4b5c"
VOTING = {"branches": ["confident_fakes"], "plain_mean": 0.91, "faces": 32, "confident": 24, "clearly_real": 2}
FACE = {
    "frame": 96,
    "time": 4.0,
    "box": [412, 96, 588, 330],
    "detection_probability": 0.999,
    "fake_probability": 0.98,
}
ERROR_RATES: dict[str, Any] = {
    "measured": True,
    "reason": None,
    "kind": "video",
    "compression": "medium",
    "face_size": "large",
    "false_alarms": {"count": 3, "files": 120, "share": 0.025, "low": 0.005, "high": 0.071},
    "misses": {"count": 9, "files": 110, "share": 0.082, "low": 0.038, "high": 0.150},
    "found": {"count": 96, "files": 110, "share": 0.873, "low": 0.796, "high": 0.929},
    "measured_on": "2026-11-20",
    "used_for_choosing": False,
}
A_RESULT: dict[str, Any] = {
    "schema": 1,
    "outcome": "FAKE",
    "reason": None,
    "fake_probability": 0.974,
    "pooled_probability": 0.974,
    "confidence": 97.4,
    "tracks": [
        {
            "index": 0,
            "fake_probability": 0.974,
            "faces": [FACE],
            "timestamps": [[3.2, 9.6]],
            "best_frame": 96,
            "voting": VOTING,
        }
    ],
    "timestamps": [[3.2, 9.6]],
    "frames": [{"index": 0, "time": 0.0}, {"index": 96, "time": 4.0}],
    "real_frames": 4,
    "fake_frames": 28,
    "real_to_fake_ratio": 0.143,
    "media": {
        "kind": "video",
        "container": "mov,mp4,m4a,3gp,3g2,mj2",
        "codec": "h264",
        "width": 1280,
        "height": 720,
        "rotation": 0,
        "duration": 45.04,
        "frame_rate": 24.0,
        "frame_count": 1080,
        "bit_rate": 606404,
        "has_audio": True,
        "jpeg_quality": 0,
    },
    "detector": "sentinel-lite",
    "detector_version": "2.0.0",
    "weights_sha256": [WEIGHTS],
    "seconds": 8.1,
    "settings": {"thresholds": {"fake": 0.7, "real": 0.3, "frame": 0.5}, "frames": 32, "precision": "float32"},
    "error_rates": ERROR_RATES,
    "pooled_voting": VOTING,
    "stability": {
        "faces": 4,
        "original": 0.97,
        "copies": [{"copy": "jpeg_90", "fake_probability": 0.96}],
        "seconds": 0.2,
    },
    "facts": {
        "encoders": ["Lavc61.19.100 libx264"],
        "created": "2026-11-20T09:12:00Z",
        "has_location": False,
        "camera": "",
        "software_tags": ["Lavf61.7.100"],
        "known_software": ["FFmpeg"],
        "credentials": {
            "status": "none",
            "signer": "",
            "issuer": "",
            "signed_at": "",
            "generator": "",
            "actions": [],
            "declares_generated": False,
        },
        "problems": [],
    },
}
A_MODEL: dict[str, Any] = {
    "name": "sentinel-lite",
    "version": "2.0.0",
    "title": "Sentinel Lite",
    "licence": "Apache-2.0",
    "architecture": "tf_efficientnet_lite0",
    "outputs": ["fake"],
    "input_size": 224,
    "thresholds": {"fake": 0.7, "real": 0.3, "frame": 0.5},
    "weights": [{"name": "model.safetensors", "sha256": WEIGHTS, "size": 13812240}],
    "size": 13812240,
    "ready": True,
    "in_use": True,
    "card_url": "/models/sentinel-lite/card/",
    "error_rates": None,
    "evaluation": {
        "measured_on": "2026-11-20",
        "files": 240,
        "rows": [
            {
                "group": "videos",
                "method": "",
                "fakes": 120,
                "reals": 120,
                "figures": {"auc": {"value": 0.95, "low": 0.92, "high": 0.97}},
            }
        ],
    },
}
