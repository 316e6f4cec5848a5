"""Settings: the paper's numbers to the digit, and one line for every mistake."""

import pytest

from cmd_tune.errors import UsageError
from cmd_tune.settings import PRESETS, Settings, check_setting, make_settings, parse_overrides

# Mao et al., ECCV 2022, and the authors' code; NTU-60 and NTU-120.
PAPER = {
    "objective": "cmd",
    "stages": "one",
    "distillation": "pairwise",
    "modalities": ("joint", "motion", "bone"),
    "teacher_temperature": 0.05,
    "student_temperature": 0.1,
    "contrast_temperature": 0.07,
    "distill_weight": 1.0,
    "queue_size": 16384,
    "topk": 8192,
    "key_momentum": 0.999,
    "hidden_size": 1024,
    "layers": 3,
    "embedding_size": 128,
    "frames": 64,
    "crop_min_frames": 64,
    "crop_min_share": 0.1,
    "shear_range": 1.0,
    "corrupted_share": 0.6,
    "epochs": 451,
    "step_epoch": 351,
    "schedule": "step",
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "sgd_momentum": 0.9,
    "weight_decay": 1e-4,
    "batch_size": 64,
    "precision": "float32",
}


def mistake(*layers, preset="quick"):
    """The one line that a mistake ends with."""
    with pytest.raises(UsageError) as caught:
        make_settings(preset, *layers)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def test_the_paper_to_the_digit():
    paper = make_settings("paper")
    assert {name: getattr(paper, name) for name in PAPER} == PAPER


def test_every_preset_is_valid():
    for name, preset in PRESETS.items():
        settings = make_settings(name)
        assert {key: getattr(settings, key) for key in preset} == preset


def test_later_layers_lie_over_earlier_ones():
    settings = make_settings("quick", ("a.yaml", {"epochs": 7, "seed": 1}), ("--set", {"epochs": 9}))
    assert (settings.epochs, settings.seed, settings.hidden_size) == (9, 1, PRESETS["quick"]["hidden_size"])


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        make_settings("paper").epochs = 3


def test_a_round_trip_through_json():
    """What a checkpoint keeps."""
    settings = make_settings("quick", ("test", {"learning_rate": 0.1 + 0.2}))
    assert Settings(**settings.model_dump(mode="json")) == settings
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("teacher_temprature", "teacher_temperature"), ("top_k", "topk"), ("queue-size", "queue_size")],
)
def test_an_unknown_setting_is_named_with_the_nearest(typed, meant):
    assert mistake(("temps.yaml", {typed: 1})) == f"temps.yaml: unknown setting '{typed}', did you mean '{meant}'?"


@pytest.mark.parametrize("key", [7, None, 2.5, True])
def test_a_key_that_is_no_name_is_named(key):
    """YAML has keys that are no text."""
    assert mistake(("temps.yaml", {key: 1})).startswith(f"temps.yaml: unknown setting '{key}'")


def test_an_unknown_preset_is_named_with_the_nearest():
    assert mistake(preset="papre") == "preset: 'papre' is unknown, did you mean 'paper'?"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("teacher_temperature", 0),
        ("student_temperature", -0.1),
        ("contrast_temperature", float("nan")),
        ("student_temperature", float("inf")),
        ("distill_weight", -1),
        ("distill_weight", float("inf")),
        ("key_momentum", 1.01),
        ("queue_size", 0),
        ("queue_size", 12.5),
        ("epochs", "many"),
        ("batch_size", 1),
        ("crop_min_share", 0),
        ("corrupted_share", 1.2),
        ("optimizer", "adam"),
        ("schedule", "linear"),
        ("precision", "float16"),
        ("modalities", "joint"),
        ("modalities", []),
        ("modalities", ["joint", "joint"]),
        ("objective", "cdm"),
        ("stages", "three"),
        ("stage_switch", 1.5),
        ("mcl_form", "both"),
        ("crossclr_topk", 0),
        ("crossclr_context", True),
        ("distillation", "mean"),
        ("learning_rate", None),
        ("seed", -1),
        ("epochs", True),
        ("teacher_temperature", True),
    ],
)
def test_a_value_that_cannot_be_names_its_layer_and_key(key, value):
    assert mistake(("first", {"seed": 3}), ("second.yaml", {key: value})).startswith(f"second.yaml: {key} = ")


def test_an_unknown_modality_is_named_with_the_nearest():
    message = mistake(("test", {"modalities": ["joint", "bones"]}))
    assert "unknown modality 'bones', did you mean 'bone'?" in message


def test_more_neighbours_than_the_bank_has_rows():
    message = mistake(("test", {"queue_size": 100, "topk": 101}))
    assert "topk 101 exceeds queue_size 100" in message
    assert make_settings("quick", ("test", {"queue_size": 100, "topk": 100})).topk == 100


def test_more_positives_than_the_bank_has_rows():
    assert "crossclr_topk 33 exceeds queue_size 32" in mistake(("test", {"queue_size": 32, "crossclr_topk": 33}))
    assert make_settings("quick", ("test", {"queue_size": 32, "crossclr_topk": 32})).crossclr_topk == 32


def test_two_stages_need_an_objective_to_end_with():
    message = mistake(("test", {"objective": "base", "stages": "two"}))
    assert message == "test: stages two ends with an objective other than base; choose another, or stages one"


@pytest.mark.parametrize("objective", ["mcl", "crossclr", "cmd"])
def test_one_modality_is_for_base(objective):
    message = mistake(("test", {"objective": objective, "modalities": ["motion"]}))
    assert message == (
        f"test: modalities motion: objective {objective} is between modalities; name two or more, or objective base"
    )
    settings = make_settings("quick", ("test", {"objective": "base", "modalities": ["motion"]}))
    assert settings.modalities == ("motion",)


@pytest.mark.parametrize(
    ("key", "value"),
    [("topk", 100_000), ("crossclr_topk", 100_000), ("queue_size", 2), ("stages", "two"), ("modalities", ["bone"])]
    + [("objective", name) for name in ("base", "mcl", "crossclr", "cmd")],
)
def test_one_value_is_checked_by_itself(key, value):
    """In a space file, what it has to fit to may stand elsewhere."""
    checked = check_setting(key, value)
    assert checked == (tuple(value) if isinstance(value, list) else value)


def test_overrides_are_read_as_yaml():
    texts = ["epochs=3", "learning_rate=1e-3", "weight_decay=2.5E-4", "modalities=[joint, bone]", "optimizer=sgd"]
    overrides = parse_overrides(texts)
    assert overrides == {
        "epochs": 3,
        "learning_rate": 0.001,
        "weight_decay": 0.00025,
        "modalities": ["joint", "bone"],
        "optimizer": "sgd",
    }
    assert isinstance(overrides["learning_rate"], float)
    assert make_settings("quick", ("--set", overrides)).modalities == ("joint", "bone")


def test_the_last_override_of_a_key_counts():
    assert parse_overrides(["epochs=3", "epochs=4"]) == {"epochs": 4}


@pytest.mark.parametrize("text", ["epochs", "modalities=[joint", "optimizer={", "queue_size=0256"])
def test_an_override_that_cannot_be_read_is_shown(text):
    with pytest.raises(UsageError) as caught:
        parse_overrides([text])
    assert str(caught.value).startswith(f"--set {text}: ")
    assert "\n" not in str(caught.value)


def test_what_another_case_and_a_missing_bracket_mean():
    assert mistake(("--set", {"EPOCHS": 5})) == "--set: unknown setting 'EPOCHS', did you mean 'epochs'?"
    said = mistake(("--set", {"modalities": "joint,bone"}))
    assert said == "--set: modalities = 'joint,bone': should be a list, as [joint, bone]"


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        make_settings(
            "quick",
            ("mine.yaml", {"epochs": 0, "layers": 1.5, "hiden_size": 8, "seed": 1}),
            ("--set", {"optimizer": "sdg", "seed": True, "modalities": [1, 2]}),
        )
    assert caught.value.lines == [
        "mine.yaml: unknown setting 'hiden_size', did you mean 'hidden_size'?",
        "--set: seed = True: is a truth value; write a number or a name",
        "--set: modalities = [1, 2]: should be a valid string",
        "mine.yaml: layers = 1.5: should be a valid integer, got a number with a fractional part",
        "mine.yaml: epochs = 0: should be greater than or equal to 1",
        "--set: optimizer = 'sdg': should be 'sgd' or 'adamw'",
    ]


def test_all_rules_between_settings_are_named_at_once():
    broken = {"objective": "base", "stages": "two", "topk": 200, "crossclr_topk": 300}
    with pytest.raises(UsageError) as caught:
        make_settings("quick", ("--set", broken))
    assert caught.value.lines == [
        "--set: topk 200 exceeds queue_size 192; at most 192 neighbours",
        "--set: crossclr_topk 300 exceeds queue_size 192; at most 192 neighbours",
        "--set: stages two ends with an objective other than base; choose another, or stages one",
    ]


def test_a_rule_is_not_named_that_a_misspelt_setting_may_have_kept():
    with pytest.raises(UsageError) as caught:
        make_settings("quick", ("--set", {"quue_size": 512, "topk": 200}))
    assert caught.value.lines == ["--set: unknown setting 'quue_size', did you mean 'queue_size'?"]


def test_all_overrides_that_cannot_be_read_are_shown():
    with pytest.raises(UsageError) as caught:
        parse_overrides(["epochs", "layers=2", "queue_size=0256"])
    assert [line.split(": ")[0] for line in caught.value.lines] == ["--set epochs", "--set queue_size=0256"]


def test_what_does_not_fit_together_is_laid_to_who_said_something():
    with pytest.raises(UsageError, match=r"^mine\.yaml: topk 300 exceeds queue_size 192"):
        make_settings("quick", ("mine.yaml", {"topk": 300}), ("--set", {}))
