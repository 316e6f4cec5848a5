"""`retrieval`: mean average precision, and recall@k: how often a clip of the query's class is among the first k.

S stream (see similarity.py), Q query, G gallery.
"""

from cmd_tune.evaluate.retrieval import rank, recall_ks
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks.accuracy import shares
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Estimate, Measure, Progress, Task


def retrieval(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """The mean average precision, then a measure for each k."""
    label_G, label_Q = subject.labels
    streams = stream_names(subject.data.settings.modalities)
    ranking = rank(*subject.features, label_G, label_Q)
    precision_S = (100 * ranking.average_precision_SQ.mean(1)).tolist()
    means = {name: Estimate(value) for name, value in zip(streams, precision_S, strict=True)}
    measures = [Measure("retrieval_map", "retrieval mAP", means)]
    for k in recall_ks(len(label_G)):
        estimates = shares(ranking.hits(k).cpu(), subject.data, streams)
        measures.append(Measure(f"retrieval_recall{k}", f"recall@{k}", estimates))
    return measures


RETRIEVAL = Task(retrieval)
