"""Two workers on one GPU: their exchanges lie between the graphs of a captured step."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_workers_have_the_numbers_of_one(tiny_store, tiny, worker, run_jobs, tmp_path, optimizer):
    settings = tiny(optimizer=optimizer, objective="cmd", epochs=3, evaluate_every=3)
    found = {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        job = {"folder": folder, "store": tiny_store, "runs": {"run": settings}, "workers": workers, "device": "cuda:0"}
        assert run_jobs(job) == [[0] * workers]
        found[workers] = [torch.load(folder / f"run-{rank}.pt", weights_only=True) for rank in range(workers)]
    (alone,) = found[1]
    for together in found[2]:
        for here, there in zip(alone["records"], together["records"], strict=True):
            for name in (name for name in here if name.startswith("loss/")):
                assert there[name] == pytest.approx(here[name], rel=1e-4), name
        for name, x in alone["state"].items():
            torch.testing.assert_close(together["state"][name], x, rtol=1e-3, atol=1e-4, msg=name)
