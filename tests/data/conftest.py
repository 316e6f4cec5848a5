"""A small source in every format, as its data set is handed out, for whatever must hold for all of them."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from cmd_tune.data.layouts import read_layout
from cmd_tune.data.readers.source import ReadOptions

NTU_NAMES = ("S001C001P001R001A001", "S001C002P002R001A002", "S002C003P003R002A001", "S002C001P004R001A003")
NW_UCLA_FOLDERS = ("view_1/a01_s01_e00", "view_2/a01_s01_e00", "view_3/a08_s10_e03", "view_3/a12_s04_e05")
LENGTHS = (5, 1, 8, 4)
RIG = """
name: rig
joints: [pelvis, spine, left, right, head]
parents: {pelvis: spine, left: spine, right: spine, head: spine}
landmarks: {base: pelvis, centre: spine, left_shoulder: left, right_shoulder: right}
"""
Written = tuple[Path, ReadOptions]


def joints(frames: int, seed: int, shape: tuple[int, ...] = (25, 3, 2)) -> np.ndarray:
    """(T, V, C, P), never 0."""
    return np.random.default_rng(seed).normal(size=(frames, *shape)).astype(np.float32)


def ntu_text(x_TVCP: np.ndarray) -> str:
    lines = [str(len(x_TVCP))]
    for x_VCP in x_TVCP:
        lines.append(str(x_VCP.shape[2]))
        for body in range(x_VCP.shape[2]):
            lines += ["72057594037931101 0 1 1 1 1 0 0.32 -0.15 2", "25"]
            lines += [f"{x:.7f} {y:.7f} {z:.7f} 295.0 333.7 837.8 954.0 0 0 0 0 2" for x, y, z in x_VCP[..., body]]
    return "\n".join(lines) + "\n"


def write_ntu(folder: Path) -> Written:
    for seed, (name, frames) in enumerate(zip(NTU_NAMES, LENGTHS, strict=True)):
        (folder / f"{name}.skeleton").write_text(ntu_text(joints(frames, seed)))
    return folder, ReadOptions()


def write_nw_ucla(folder: Path) -> Written:
    for seed, frames in enumerate(LENGTHS):
        record = {"skeletons": joints(frames, seed, (20, 3)).tolist(), "label": seed + 1}
        (folder / f"a01_s{seed + 1:02}_e00_v{seed % 3 + 1:02}.json").write_text(json.dumps(record))
    return folder, ReadOptions()


def nw_ucla_frame(*x_PVC: np.ndarray) -> str:
    """A text of skeletons, (20, 3) each."""
    texts = [
        f"{body}\n" + "".join(f"{x:.6f},{y:.6f},{z:.6f},2\n" for x, y, z in x_VC) for body, x_VC in enumerate(x_PVC)
    ]
    return "".join(texts)


def write_nw_ucla_text(folder: Path) -> Written:
    """Clips of 5, 1, 8 and 4 frames, numbered from 9; each has a frame before without a skeleton."""
    for seed, (clip, frames) in enumerate(zip(NW_UCLA_FOLDERS, LENGTHS, strict=True)):
        of_clip = folder / "multiview_action" / clip
        of_clip.mkdir(parents=True, exist_ok=True)
        (of_clip / "fileList.txt").write_text("8 9\n")
        (of_clip / "frame_8_tc_1007_skeletons.txt").write_text("")
        for number, x_VC in enumerate(joints(frames, seed, (20, 3)), start=9):
            (of_clip / f"frame_{number}_tc_{1000 - number}_skeletons.txt").write_text(nw_ucla_frame(x_VC))
    return folder, ReadOptions()


def write_pku_1(folder: Path) -> Written:
    """As those of phase II, with phase I's names."""
    write_pku(folder, ("0002-L", "0291-R"), "0009-M")
    for view in ("subject", "view"):
        (folder / "Split" / f"cross_{view}_v2.txt").rename(folder / "Split" / f"cross-{view}.txt")
    return folder, ReadOptions()


def write_pku(folder: Path, stems: tuple[str, str] = ("A01N01-L", "A03N12-R"), other: str = "A09N09-M") -> Written:
    """Two recordings of 40 frames; actions in frames 0–5, 10–11 and 38–46 of each."""
    for kind in ("Skeleton_v2", "Label_v2", "Split"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed, stem in enumerate(stems):
        x_TPVC = joints(40, seed).transpose(0, 3, 1, 2)
        np.savetxt(folder / "Skeleton_v2" / f"{stem}.txt", x_TPVC.reshape(40, -1), fmt="%.7f")
        (folder / "Label_v2" / f"{stem}.txt").write_text("1,0,5,2\n51,10,11,1\n7,38,46,2\n")
    for view in ("subject", "view"):
        text = f"Training videos:\n{stems[0]}, \n\nValidataion videos:\n{stems[1]}, {other}\n"
        (folder / "Split" / f"cross_{view}_v2.txt").write_text(text)
    return folder, ReadOptions()


def padded(seed_of: int, count: int) -> np.ndarray:
    """(N, T, V, C, P) of 12 frames, the last of them 0, clips of LENGTHS."""
    x_NTVCP = np.zeros((count, 12, 25, 3, 2), np.float32)
    for n in range(count):
        x_NTVCP[n, : LENGTHS[n]] = joints(LENGTHS[n], seed_of + n)
    return x_NTVCP


def write_npy(folder: Path) -> Written:
    """xsub trains on the first two clips, xview on all but the first; both test the rest."""
    arrays = padded(0, 4)
    halves = {"xsub": ([0, 1], [2, 3]), "xview": ([1, 2, 3], [0])}
    for protocol, (train, test) in halves.items():
        (folder / protocol).mkdir(parents=True, exist_ok=True)
        for half, rows in (("train", train), ("val", test)):
            np.save(folder / protocol / f"{half}_data_joint.npy", arrays[rows].transpose(0, 3, 1, 2, 4))
            np.save(folder / protocol / f"{half}_num_frame.npy", np.array(LENGTHS)[rows])
            names = [f"{NTU_NAMES[row]}.skeleton" for row in rows]
            content = (names, [int(NTU_NAMES[row][-3:]) - 1 for row in rows])
            (folder / protocol / f"{half}_label.pkl").write_bytes(pickle.dumps(content))
    return folder, ReadOptions()


def ctr_gcn_arrays() -> dict[str, np.ndarray]:
    one_hot = np.eye(60)[[0, 1, 0, 59]]
    x_NTX = padded(0, 4).transpose(0, 1, 4, 2, 3).reshape(4, 12, 150)
    return {"x_train": x_NTX[:3], "y_train": one_hot[:3], "x_test": x_NTX[3:], "y_test": one_hot[3:]}


def write_ctr_gcn(folder: Path) -> Written:
    np.savez(folder / "NTU60_CS.npz", **ctr_gcn_arrays())
    return folder / "NTU60_CS.npz", ReadOptions()


def pyskl_content() -> dict:
    """Of the four clips the second has one body."""
    annotations = []
    for seed, (name, frames) in enumerate(zip(NTU_NAMES, LENGTHS, strict=True)):
        bodies = 1 if seed == 1 else 2
        x_PTVC = joints(frames, seed, (25, 3, bodies)).transpose(3, 0, 1, 2).astype(np.float16)
        annotations.append({"frame_dir": name, "label": seed, "keypoint": x_PTVC, "total_frames": frames})
    split = {"xsub_train": [*NTU_NAMES[:2]], "xsub_val": [*NTU_NAMES[2:]], "xset_train": [NTU_NAMES[3]]}
    return {"split": split, "annotations": annotations}


def write_pyskl(folder: Path) -> Written:
    (folder / "ntu60_3danno.pkl").write_bytes(pickle.dumps(pyskl_content()))
    return folder / "ntu60_3danno.pkl", ReadOptions()


def pyskl_2d_content() -> dict:
    """Of the four clips the second has one body; every joint is seen."""
    annotations = []
    for seed, (name, frames) in enumerate(zip(NTU_NAMES, LENGTHS, strict=True)):
        bodies = 1 if seed == 1 else 2
        x_PTVC = (100 + 50 * joints(frames, seed, (17, 2, bodies))).transpose(3, 0, 1, 2)
        score_PTV = np.random.default_rng(seed).uniform(0.1, 1, x_PTVC.shape[:3])
        both = {"keypoint": x_PTVC.astype(np.float16), "keypoint_score": score_PTV.astype(np.float16)}
        annotations.append({"frame_dir": name, "label": seed, "total_frames": frames, **both})
    return {"split": {"xsub_train": [*NTU_NAMES[:2]], "xsub_val": [*NTU_NAMES[2:]]}, "annotations": annotations}


def write_pyskl_2d(folder: Path) -> Written:
    (folder / "ntu60_hrnet.pkl").write_bytes(pickle.dumps(pyskl_2d_content()))
    return folder / "ntu60_hrnet.pkl", ReadOptions()


def write_pyskl_lists(folder: Path) -> Written:
    """xsub trains on the first two clips, xview on all but the first; both test the rest."""
    annotations = pyskl_2d_content()["annotations"]
    for half, rows in (("xsub_train", [0, 1]), ("xsub_val", [2, 3]), ("xview_train", [1, 2, 3]), ("xview_val", [0])):
        (folder / f"ntu60_{half}.pkl").write_bytes(pickle.dumps([annotations[row] for row in rows]))
    return folder, ReadOptions()


def kinetics_clip(frames: int, seed: int) -> dict:
    """Frames from 1 on with two bodies, the second with the larger confidences; every joint is seen."""
    rng = np.random.default_rng(seed)
    data = []
    for frame in range(frames):
        skeleton = [
            {"pose": rng.uniform(0.2, 0.8, 36).round(3).tolist(), "score": (scale * rng.uniform(0.1, 1, 18)).tolist()}
            for scale in (0.05, 1)
        ]
        data.append({"frame_index": frame + 1, "skeleton": skeleton})
    return {"data": data, "label": "abseiling", "label_index": 0}


def write_kinetics(folder: Path) -> Written:
    for half, clips in (("train", (0, 1, 2)), ("val", (3,))):
        (folder / f"kinetics_{half}").mkdir(parents=True, exist_ok=True)
        labels = {}
        for seed in clips:
            clip = kinetics_clip(LENGTHS[seed], seed)
            (folder / f"kinetics_{half}" / f"-clip{seed}.json").write_text(json.dumps(clip))
            labels[f"-clip{seed}"] = {"has_skeleton": True, "label": "abseiling", "label_index": seed % 2}
        (folder / f"kinetics_{half}_label.json").write_text(json.dumps(labels))
    return folder, ReadOptions()


INDEX = """file,label,subject,split
squat/000.json,0,1,train
squat/001.json,0,2,test
jump/000.json,1,1,train
jump/001.json,1,2,
"""


def landmarks(seed: int, scale: float = 1) -> list[dict]:
    x_VX = np.random.default_rng(seed).uniform(0.1, 0.9, (33, 4)) * [scale, scale, scale, 1]
    return [dict(zip(("x", "y", "z", "visibility"), row, strict=True)) for row in x_VX.round(4).tolist()]


def write_mediapipe(folder: Path) -> Written:
    """Four clips of as many forms; each frame is of its own, and the last has nobody."""
    frames = [[landmarks(10 * clip + t, scale=0.5) for t in range(LENGTHS[clip])] for clip in range(4)]
    both = [{"pose_landmarks": [one], "pose_world_landmarks": [one]} for one in frames[2]]
    clips = [
        [*frames[0], None],
        {"frames": [*frames[1], []], "width": 640, "height": 480},
        [*both, {"pose_landmarks": [], "pose_world_landmarks": []}],
        [[list(one.values())[:3] for one in frame] for frame in frames[3]],
    ]
    for row, content in zip(INDEX.splitlines()[1:], clips, strict=True):
        path = folder / row.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (folder / "index.csv").write_text(INDEX)
    return folder, ReadOptions()


BVH_HIERARCHY = """HIERARCHY
ROOT pelvis
{
    OFFSET 0.0 0.0 0.0
    CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
    JOINT spine
    {
        OFFSET 0.0 20.0 0.0
        CHANNELS 3 Zrotation Xrotation Yrotation
        JOINT left
        {
            OFFSET 15.0 25.0 0.0
            CHANNELS 3 Zrotation Xrotation Yrotation
            End Site
            {
                OFFSET 30.0 0.0 0.0
            }
        }
        JOINT right
        {
            OFFSET -15.0 25.0 0.0
            CHANNELS 3 Yrotation Xrotation Zrotation
            End Site
            {
                OFFSET -30.0 0.0 0.0
            }
        }
        JOINT head
        {
            OFFSET 0.0 35.0 5.0
            CHANNELS 3 Zrotation Xrotation Yrotation
            End Site
            {
                OFFSET 0.0 15.0 0.0
            }
        }
    }
}
"""


def bvh_text(x_TX: np.ndarray, hierarchy: str = BVH_HIERARCHY) -> str:
    lines = [" ".join(f"{x:.5f}" for x in x_X) for x_X in x_TX]
    return "\n".join([f"{hierarchy}MOTION", f"Frames: {len(x_TX)}", "Frame Time: 0.0333333", *lines, ""])


def write_bvh(folder: Path) -> Written:
    for seed, (row, frames) in enumerate(zip(INDEX.splitlines()[1:], LENGTHS, strict=True)):
        path = (folder / row.split(",")[0]).with_suffix(".bvh")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(bvh_text(np.random.default_rng(seed).uniform(-40, 40, (frames, 18))))
    (folder / "index.csv").write_text(INDEX.replace(".json", ".bvh"))
    return folder, rig(folder)


def write_generic_2d(folder: Path) -> Written:
    arrays = generic_arrays()
    np.savez(folder / "mine.npz", **{**arrays, "joints": np.ascontiguousarray(arrays["joints"][:, :, :2])})
    (folder.parent / "rig.yaml").write_text(RIG + "coordinates: 2\n")
    return folder / "mine.npz", ReadOptions(layout=read_layout(folder.parent / "rig.yaml"))


def generic_arrays() -> dict[str, np.ndarray]:
    return {
        "joints": np.concatenate([joints(frames, seed, (5, 3, 2)) for seed, frames in enumerate(LENGTHS)]),
        "lengths": np.array(LENGTHS),
        "label": np.array([0, 1, 0, 2]),
        "name": np.array(["one", "two", "three", "four"]),
        "subject": np.array([1, 2, 3, 3]),
        "split": np.array(["train", "train", "test", ""]),
        "split_other": np.array(["test", "train", "train", "test"]),
    }


def write_generic(folder: Path) -> Written:
    np.savez(folder / "mine.npz", **generic_arrays())
    return folder / "mine.npz", rig(folder)


def write_parquet(folder: Path) -> Written:
    arrays = generic_arrays()
    ends = np.cumsum(LENGTHS)
    rows = [x.ravel().tolist() for x in np.split(arrays.pop("joints"), ends[:-1])]
    table = pa.table({"joints": pa.array(rows, pa.list_(pa.float32())), **{k: pa.array(v) for k, v in arrays.items()}})
    parquet.write_table(table, folder / "mine.parquet", row_group_size=3)
    return folder / "mine.parquet", rig(folder)


def write_generic_folder(folder: Path) -> Written:
    """The same clips, a file each: .npy, .npz, .csv with a heading, .npy; and what a system left beside them."""
    arrays = generic_arrays()
    clips = np.split(arrays["joints"], np.cumsum(LENGTHS)[:-1])
    np.save(folder / "one.npy", clips[0])
    np.savez(folder / "two.npz", joints=clips[1], fps=np.array(30))
    head = ",".join(f"x{n}" for n in range(30))
    np.savetxt(
        folder / "three.csv", clips[2].reshape(len(clips[2]), -1), delimiter=",", header=head, comments="", fmt="%.9g"
    )
    np.save(folder / "four.npy", clips[3])
    (folder / "__MACOSX").mkdir(exist_ok=True)
    for left in ("._index.csv", ".DS_Store", "__MACOSX/index.csv"):
        (folder / left).write_bytes(b"\0\5\26\7")
    files = ("one.npy", "two.npz", "three.csv", "four.npy")
    rows = zip(files, arrays["label"], arrays["subject"], arrays["split"], arrays["split_other"], strict=True)
    lines = ["file,label,subject,split,split_other", *(",".join(map(str, row)) for row in rows)]
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder, rig(folder)


def rig(folder: Path) -> ReadOptions:
    (folder.parent / "rig.yaml").write_text(RIG)
    return ReadOptions(layout=read_layout(folder.parent / "rig.yaml"))


WRITERS: dict[str, Callable[[Path], Written]] = {
    "ntu-60": write_ntu,
    "ntu-120": write_ntu,
    "nw-ucla": write_nw_ucla,
    "nw-ucla-text": write_nw_ucla_text,
    "pku-mmd-1": write_pku_1,
    "pku-mmd-2": write_pku,
    "npy": write_npy,
    "ctr-gcn": write_ctr_gcn,
    "pyskl": write_pyskl,
    "pyskl 2-D": write_pyskl_2d,
    "pyskl lists": write_pyskl_lists,
    "kinetics-skeleton": write_kinetics,
    "mediapipe": write_mediapipe,
    "mediapipe-world": write_mediapipe,
    "bvh": write_bvh,
    "generic": write_generic,
    "generic 2-D": write_generic_2d,
    "generic parquet": write_parquet,
    "generic folder": write_generic_folder,
}


@pytest.fixture
def write_source(tmp_path: Path) -> Callable[..., Written]:
    """Writes the source of a format in a folder of its own; what it is, and what to ask for."""

    def write(kind: str, folder: Path = tmp_path / "source") -> Written:
        folder.mkdir(parents=True, exist_ok=True)
        return WRITERS[kind](folder)

    return write
