"""Find faces with another package's detector: benchmarks/photos.py runs this in that package's environment.

    python benchmarks/peers.py mediapipe
    python benchmarks/peers.py facenet-pytorch

Frames of 640 x 480 come in as bytes, RGB; for each, a line of JSON goes out: one list a face of x, y, width,
height and five points (or null). Nothing of `ssrlib` is imported, for it may not run there.
"""

import json
import sys
from typing import Any

import numpy as np

WIDTH, HEIGHT = 640, 480


def mediapipe() -> Any:
    """BlazeFace for the full range, as MediaPipe 0.10.14 ships it. Its points are others than ours."""
    from mediapipe.python.solutions.face_detection import FaceDetection

    detector = FaceDetection(model_selection=1, min_detection_confidence=0.5)

    def find(frame: np.ndarray) -> list[list[Any]]:
        found = [
            face.location_data.relative_bounding_box for face in detector.process(frame).detections or []
        ]
        return [
            [box.xmin * WIDTH, box.ymin * HEIGHT, box.width * WIDTH, box.height * HEIGHT, None]
            for box in found
        ]

    return find


def facenet_pytorch() -> Any:
    """MTCNN (Zhang et al. 2016), as facenet-pytorch ships it."""
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    detector = MTCNN(keep_all=True, device="cpu")

    def find(frame: np.ndarray) -> list[list[Any]]:
        boxes, _, points = detector.detect(frame, landmarks=True)
        if boxes is None:
            return []
        return [
            [float(x), float(y), float(right - x), float(bottom - y), five.tolist()]
            for (x, y, right, bottom), five in zip(boxes, points, strict=True)
        ]

    return find


def main() -> None:
    find = {"mediapipe": mediapipe, "facenet-pytorch": facenet_pytorch}[sys.argv[1]]()
    while data := sys.stdin.buffer.read(WIDTH * HEIGHT * 3):
        frame = np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH, 3)
        print(json.dumps(find(frame)), flush=True)


if __name__ == "__main__":
    main()
