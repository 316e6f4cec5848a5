"""Ray for the length of a search."""

import os

from cmd_tune.search.cluster import ray_session


def test_who_is_given_no_gpu_sees_none(tmp_path, monkeypatch):
    """Else a trial planned for a CPU would compute on the GPU, beside as many others as there are CPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with ray_session(None, tmp_path / "ray.log", nested=False):
        import ray

        assert ray.get(ray.remote(os.getenv).remote("CUDA_VISIBLE_DEVICES")) == ""
