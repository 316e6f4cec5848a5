"""`knn`: votes of the nearest training clips, by cosine.

S stream (see similarity.py), Q query, G gallery.
"""

from dataclasses import replace

from cmd_tune.evaluate.knn import vote_predictions
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks.accuracy import accuracy
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Measure, Progress, Task

KNN_KS = (1, 5, 10, 20)


def knn(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """A measure for each k, as far as there are so many training clips."""
    label_G, _ = subject.labels
    ks = [k for k in KNN_KS if k <= len(label_G)]
    streams = stream_names(subject.data.settings.modalities)
    votes = vote_predictions(*subject.features, label_G, ks)
    measures = {
        k: accuracy("knn" if k == 1 else f"knn{k}", f"{k}-NN", predicted_SQ, subject.data, streams)
        for k, predicted_SQ in votes.items()
    }
    return [measure if k == 1 else replace(measure, predicted=None) for k, measure in measures.items()]


KNN = Task(knn)
