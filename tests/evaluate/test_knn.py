"""Nearest neighbours, against every pair looked at in NumPy."""

import numpy as np
import pytest
import torch

from cmd_tune.evaluate.knn import knn_predictions, vote_predictions

M, G, Q, F = 3, 41, 23, 7


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(M, G, F, generator=generator)
    query = torch.randn(M, Q, F, generator=generator)
    return gallery, query, torch.randint(0, 9, (G,), generator=generator)


def cosines(gallery_MGF, query_MQF):
    gallery, query = gallery_MGF.double().numpy(), query_MQF.double().numpy()
    table = np.empty((M, Q, G))
    for m in range(M):
        for q in range(Q):
            for g in range(G):
                a, b = query[m, q], gallery[m, g]
                table[m, q, g] = a @ b / np.sqrt((a @ a) * (b @ b))
    return table


def test_each_modality_and_the_mean_of_their_cosines(data):
    gallery, query, labels = data
    predictions = knn_predictions(gallery, query, labels).numpy()
    table = cosines(gallery, query)
    assert predictions.shape == (M + 1, Q)
    assert np.array_equal(predictions[:M], labels.numpy()[table.argmax(2)])
    assert np.array_equal(predictions[M], labels.numpy()[table.mean(0).argmax(1)])
    assert len({tuple(row) for row in predictions}) == M + 1  # no two rows would do for each other


@pytest.mark.parametrize("block", [1, 5, Q, 1000])
def test_blocks_do_not_change_the_result(data, block):
    assert torch.equal(knn_predictions(*data, block=block), knn_predictions(*data))


def test_the_length_of_a_feature_does_not_matter(data):
    gallery, query, labels = data
    scaled = gallery * torch.logspace(-3, 3, G)[None, :, None], query * torch.logspace(2, -2, Q)[None, :, None]
    assert torch.equal(knn_predictions(*scaled, labels), knn_predictions(gallery, query, labels))


def test_a_clip_finds_itself(data):
    gallery, _, labels = data
    assert torch.equal(knn_predictions(gallery, gallery, labels), labels.expand(M + 1, G))


def test_agrees_with_scikit_learn(data):
    neighbors = pytest.importorskip("sklearn.neighbors")
    gallery, query, labels = data
    for modality, predictions in enumerate(knn_predictions(gallery, query, labels)[:M]):
        classifier = neighbors.KNeighborsClassifier(n_neighbors=1, metric="cosine")
        classifier.fit(gallery[modality].numpy(), labels.numpy())
        assert classifier.predict(query[modality].numpy()).tolist() == predictions.tolist()


def test_fused_is_one_vote_of_cosines_and_not_a_majority():
    """Two modalities are for class 0 by a hair, one for class 1 by far: the mean of the cosines says 1."""

    def at(degrees):
        return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]

    query = torch.tensor([[at(0)]] * 3)
    gallery = torch.tensor([[at(50), at(52)], [at(50), at(52)], [at(90), at(0)]])
    predictions = knn_predictions(gallery, query, torch.tensor([0, 1]))
    assert predictions.flatten().tolist() == [0, 0, 1, 1]


def test_a_vote_of_k_neighbours_in_numpy(data):
    gallery, query, labels = data
    votes = vote_predictions(gallery, query, labels, (1, 4, 7, 100))
    table = cosines(gallery, query)
    table = np.concatenate((table, table.mean(0, keepdims=True)))
    for k, predictions in votes.items():
        assert predictions.shape == (M + 2, Q)
        for stream in range(M + 1):
            for q in range(Q):
                nearest = labels.numpy()[np.argsort(-table[stream, q])[:k]].tolist()
                most = max(nearest.count(label) for label in nearest)
                assert predictions[stream, q] == next(label for label in nearest if nearest.count(label) == most)
    assert torch.equal(votes[1][: M + 1], knn_predictions(gallery, query, labels))


def test_k_neighbours_agree_with_scikit_learn_where_no_vote_is_tied(data):
    neighbors = pytest.importorskip("sklearn.neighbors")
    gallery, query, labels = data
    labels = labels % 2  # of two classes, an odd number of neighbours is never tied
    for k, predictions in vote_predictions(gallery, query, labels, (3, 5)).items():
        for modality in range(M):
            classifier = neighbors.KNeighborsClassifier(n_neighbors=k, metric="cosine")
            classifier.fit(gallery[modality].numpy(), labels.numpy())
            assert classifier.predict(query[modality].numpy()).tolist() == predictions[modality].tolist()


def test_of_tied_classes_the_nearer_wins():
    angles = torch.tensor([40.0, 20.0, 30.0, 10.0]).deg2rad()
    gallery = torch.stack((angles.cos(), angles.sin()), dim=1)[None]
    query = torch.tensor([[[1.0, 0.0]]])
    votes = vote_predictions(gallery, query, torch.tensor([0, 0, 1, 1]), (2, 3, 4))
    assert {k: int(predictions[0, 0]) for k, predictions in votes.items()} == {2: 1, 3: 1, 4: 1}
    votes = vote_predictions(gallery, query, torch.tensor([1, 0, 0, 1]), (3,))
    assert int(votes[3][0, 0]) == 0
