"""What an estimator's confidences say of its joints.

V joint, C coordinate.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def without_unseen(x_VC: NDArray[Any], score_V: NDArray[Any]) -> NDArray[np.float32]:
    """The joints (…, V, C), those of confidence 0 (…, V) as NaN; a body of which none is seen is absent, that is 0."""
    seen_V1 = (score_V > 0)[..., None]
    return np.where(seen_V1, x_VC, np.where(seen_V1.any(axis=-2, keepdims=True), np.nan, 0)).astype(np.float32)
