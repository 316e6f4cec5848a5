"""How the numbers of a comparison are measured and its claims are tested, for a reader of the report."""

from cmd_tune.search.report.base import Section
from cmd_tune.search.report.findings import StudyFindings
from cmd_tune.search.report.looks import LOOKS
from cmd_tune.search.report.verdicts import MIN_SEEDS

_METHOD = f"""\
Measured: percent right, mean over seeds, with a 95 % interval. With several seeds, the interval is Student's t over
seeds; it covers what other seeds would change on this test set, not other clips and subjects. For the baselines, and
for cells with one seed, it is Wilson's over clips, with the clips of a subject taken together if subjects are known; it
does not cover what other seeds would change. Every trial is scored once, at its last epoch; nothing is selected.
Difference: measured less reported, in points; accuracies of others are shown only if data, protocol and probe are the
same. untrained: the encoder before training; raw 1-NN: the nearest neighbour among bare skeletons, also beside linear
accuracies.

Claims are tested on paired differences over seeds, by one-sided paired t-tests. A claim *holds* if every comparison
supports it at the level of the look (an intersection-union test, which needs no correction). It *does not* hold if any
comparison contradicts it after Holm's correction over all comparisons. Otherwise, or with fewer than {MIN_SEEDS} seeds,
the verdict is *cannot tell*. With a margin, *flat* is supported by two one-sided tests (TOST) that each difference is
smaller than the margin, and contradicted by a two-sided test that it is larger; *no worse* is supported by a one-sided
test that the difference is above minus the margin, and contradicted by one that it is below.

The first look at a claim is tested at 2.5 %. Each further look, with more seeds, is tested at half the level of the one
before. All looks at a claim together err with a probability of at most 5 % for the claim, and of at most 5 % against
it. A claim that is stated later continues from the last look at the others. {LOOKS} records all looks. The number of
seeds that a verdict would take is computed by the noncentral t distribution, at the level of the next look, from the
spread over seeds so far; a few seeds show that spread only roughly."""


def method(findings: StudyFindings) -> Section | None:
    """None for a search."""
    if findings.comparison is None:
        return None
    return Section(f"## How it was measured and tested\n\n{_METHOD}")
