"""Joints that pose estimators find in images, as plain values in the form of `layouts.read_layout`.

No estimator has a joint at the hips' or the trunk's middle: such landmarks are means of joints.
"""

from typing import Any

_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_LANDMARKS: dict[str, Any] = {
    "base": ["left_hip", "right_hip"],
    "centre": [*_TRUNK],
    "left_shoulder": "left_shoulder",
    "right_shoulder": "right_shoulder",
}

# Parents of arms, hips and legs, which all estimators' trees share.
_LIMBS = {
    "left_elbow": "left_shoulder", "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow", "right_wrist": "right_elbow",
    "left_hip": "left_shoulder", "right_hip": "right_shoulder",
    "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee",
}  # fmt: skip

# Parents as in pyskl's graph of these joints (Duan et al., 2022).
COCO_17: dict[str, Any] = {
    "name": "coco-17",
    "coordinates": 2,
    "joints": [
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ],
    "parents": {
        "left_eye": "nose", "right_eye": "nose", "left_ear": "left_eye", "right_ear": "right_eye",
        "left_shoulder": "nose", "right_shoulder": "nose",
        **_LIMBS,
    },
    "landmarks": _LANDMARKS,
}  # fmt: skip

# OpenPose's 18 of COCO, parents as in ST-GCN's graph (Yan et al., AAAI 2018).
OPENPOSE_18: dict[str, Any] = {
    "name": "openpose-18",
    "coordinates": 2,
    "joints": [
        "nose", "neck",
        "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "right_eye", "left_eye", "right_ear", "left_ear",
    ],
    "parents": {
        "nose": "neck", "right_shoulder": "neck", "left_shoulder": "neck",
        **_LIMBS,
        "right_eye": "nose", "left_eye": "nose", "right_ear": "right_eye", "left_ear": "left_eye",
    },
    "landmarks": _LANDMARKS,
}  # fmt: skip

# MediaPipe's pose landmarks. It draws neither neck nor a joint between face and trunk: the shoulders hang on the nose,
# as in COCO's tree.
MEDIAPIPE_33: dict[str, Any] = {
    "name": "mediapipe-33",
    "coordinates": 2,
    "joints": [
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
        "left_ear", "right_ear", "mouth_left", "mouth_right",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "left_heel", "right_heel", "left_foot_index", "right_foot_index",
    ],
    "parents": {
        "left_eye_inner": "nose", "left_eye": "left_eye_inner", "left_eye_outer": "left_eye",
        "right_eye_inner": "nose", "right_eye": "right_eye_inner", "right_eye_outer": "right_eye",
        "left_ear": "left_eye_outer", "right_ear": "right_eye_outer", "mouth_left": "nose", "mouth_right": "nose",
        "left_shoulder": "nose", "right_shoulder": "nose",
        "left_pinky": "left_wrist", "left_index": "left_wrist", "left_thumb": "left_wrist",
        "right_pinky": "right_wrist", "right_index": "right_wrist", "right_thumb": "right_wrist",
        **_LIMBS,
        "left_heel": "left_ankle", "left_foot_index": "left_ankle",
        "right_heel": "right_ankle", "right_foot_index": "right_ankle",
    },
    "landmarks": _LANDMARKS,
}  # fmt: skip

KEYPOINTS = (COCO_17, OPENPOSE_18, MEDIAPIPE_33, {**MEDIAPIPE_33, "name": "mediapipe-33-world", "coordinates": 3})
