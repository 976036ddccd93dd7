"""Pictures of one astronaut, for the tests of whatever finds and reads faces."""

import cv2
import numpy as np
from skimage import data

from ssrlib.scenes import Portrait, paste

PHOTO = data.astronaut()
POINTS = np.array([[206.0, 101], [248, 101], [226, 122], [207, 141], [244, 141]])
NEAR = PHOTO[:304, 80:368]
# She twice: on the left in fog, where the finder hardly sees her.
FOGGY_AND_CLEAR = np.hstack([(0.1 * NEAR + 0.9 * 128).astype(np.uint8), NEAR])
# Turns, in degrees, at which the finder takes something in `scene(100, TURN)` for a face all the same.
LYING = (85, 205, 260)


def scene(side: float, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """Paste the astronaut on a cup of coffee: return the frame, and where the points of the face are."""
    frame = cv2.resize(data.coffee(), (640, 480))
    points, _ = paste(frame, Portrait(PHOTO, POINTS), (320, 240), side, roll)
    return frame, points
