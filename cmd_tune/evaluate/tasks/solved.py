"""`solved`: a linear probe solved on features extracted once.

S stream (see similarity.py), Q query, G gallery.
"""

from cmd_tune.evaluate.linear import linear_stream_predictions
from cmd_tune.evaluate.similarity import stream_names
from cmd_tune.evaluate.tasks.accuracy import accuracy
from cmd_tune.evaluate.tasks.base import EncoderUnderTest, Measure, Progress, Task


def solved(subject: EncoderUnderTest, progress: Progress) -> list[Measure]:
    """One measure, without a choice of any kind on the test set."""
    label_G, _ = subject.labels
    predicted_SQ = linear_stream_predictions(*subject.features, label_G)
    streams = stream_names(subject.data.settings.modalities)
    return [accuracy("linear", "linear, solved", predicted_SQ, subject.data, streams)]


SOLVED = Task(solved)
