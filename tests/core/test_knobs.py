"""Settings in their own types: the same number is the same setting, whoever wrote it."""

from dataclasses import fields

import numpy as np
import pytest
import torch

import imu_lab as imu


@pytest.mark.parametrize("given", [8, 8.0, np.int64(8), np.float32(8), np.array(8), torch.tensor(8), torch.tensor(8.0)])
def test_the_same_number_in_another_type_is_the_same_setting(given: object) -> None:
    """Checkpoints and kept runs are found by the repr of settings."""
    recipe = imu.tasks.Recipe(epochs=given, batch_size=given, lr=0.5)
    assert repr(recipe) == repr(imu.tasks.Recipe(epochs=8, batch_size=8, lr=0.5))
    method = imu.methods.create("imu", batch_size=given)
    assert method == imu.methods.create("imu", batch_size=8) and hash(method) == hash(
        imu.methods.create("imu", batch_size=8)
    )


@pytest.mark.parametrize(
    "given", [np.float64(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64)]
)
def test_a_number_of_numpys_or_torchs_is_pythons(given: object) -> None:
    assert repr(imu.methods.create("imu", lr=given)) == repr(imu.methods.create("imu", lr=0.5))
    assert repr(imu.tasks.Recipe(lr=given)) == repr(imu.tasks.Recipe(lr=0.5))


@pytest.mark.parametrize("given", [True, False, np.bool_(True)])
def test_true_and_false_are_no_numbers(given: object) -> None:
    for name in ("lr", "batch_size", "step_norm"):
        with pytest.raises(ValueError, match=f"imu needs a number for {name}, got {bool(given)}"):
            imu.methods.create("imu", **{name: given})
    with pytest.raises(ValueError, match="needs a number for epochs"):
        imu.tasks.Recipe(epochs=given)
    assert imu.estimators.create("fisher-diagonal", relative=given).relative is bool(given)


@pytest.mark.parametrize("given", ["no", "yes", 2, 0.5, [True], np.ones(2), None])
def test_a_switch_is_on_or_off_and_no_words(given: object) -> None:
    """Any word is true, also "no"."""
    with pytest.raises(ValueError, match="Recipe needs True or False for augment, got "):
        imu.tasks.Recipe(augment=given)
    for same in (1, 1.0, True, np.bool_(True), torch.tensor(True)):
        assert repr(imu.tasks.Recipe(augment=same)) == repr(imu.tasks.Recipe(augment=True))


@pytest.mark.parametrize("given", ["0.1", [0.1], np.ones(2), torch.ones(2), object(), {}])
def test_a_setting_of_another_type_is_told_by_its_name(given: object) -> None:
    for name in imu.methods:
        for setting in {"lr", "optimizer", "batch_size"} & {each.name for each in fields(imu.methods[name])}:
            with pytest.raises((ValueError, TypeError), match=setting):
                imu.methods.create(name, **{setting: given})
    with pytest.raises(ValueError, match="lr"):
        imu.unlearn(imu.tasks.Toy(), imu.tasks.Toy().make_model(0), lr=given)
