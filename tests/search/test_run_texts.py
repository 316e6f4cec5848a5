"""Names and parameters of the runs of a search."""

from cmd_tune.search.run_texts import named_parameters, trial_params, trial_title
from cmd_tune.search.study.trial_record import TrialRecord


def test_a_name_has_the_first_four_of_sixteen_parameters_and_none_that_the_trial_lacks(make_space, tmp_path):
    first = ("teacher_temperature", "student_temperature", "learning_rate", "shear_range")
    others = ("weight_decay", "crop_min_share", "contrast_temperature", "distill_weight")
    space = make_space(
        parameters={name: {"min": 0.1, "max": 0.2} for name in (*first, *others)}, points_to_evaluate=None
    )
    assert named_parameters(space) == first
    values = {"teacher_temperature": 1 / 30, "learning_rate": 0.1, "shear_range": 0.15, "weight_decay": 0.2}
    trial = TrialRecord(7, values, tmp_path)
    assert trial_title(trial, named_parameters(space)) == "trial-007 τt 0.03333 lr 0.1 shear_range 0.15"


def test_of_a_table_the_seed_is_named_however_many_settings_its_cells_have(make_space):
    absent = dict.fromkeys(("parameters", "points_to_evaluate", "budget"))
    cell = {"topk": 4, "queue_size": 64, "batch_size": 8, "learning_rate": 0.1, "epochs": 3}
    space = make_space(method="cells", cells=[cell], **absent)
    assert named_parameters(space) == ("topk", "queue_size", "batch_size", "seed")


def test_a_trials_own_values_come_before_the_settings_of_the_search(tiny, tmp_path):
    params = trial_params(TrialRecord(0, {"queue_size": 999, "key_momentum": 0.123456}, tmp_path), tiny())
    assert (params["queue_size"], params["key_momentum"], params["hidden_size"]) == ("999", "0.1235", "8")
