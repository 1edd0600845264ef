"""What each token adds, and what a model believes of a source."""

from __future__ import annotations

import cases
import padding
import pytest
import sequences
import torch
from sequences import models, tiny
from torch import nn

import imu_lab as imu
from imu_lab.features.gradients import explicit
from imu_lab.measures.transitions import learned


@pytest.mark.parametrize("how", [{}, {"damping": 1.0}, {"damping": 0.1, "relative": True}])
def test_tokens_add_up_to_their_sequence(how: dict) -> None:
    task, (model, _) = tiny(), models()
    table, scores = imu.token_scores(task, model, **how), imu.influence(task, model, **how)
    assert list(table) == ["example", "place", "token", "loss", "influence"] and len(table) == 20 * 7
    whole = table.groupby("example")
    assert cases.close(whole["influence"].sum(), scores.values, within=1e-4)
    assert cases.close(whole["loss"].mean(), scores.context["loss"], within=1e-6)
    assert (table["token"].to_numpy().reshape(20, 7) == task.tokens(scores.frame["example"])[:, 1:]).all()


@pytest.mark.full
def test_one_tokens_influence_is_its_own_gradients() -> None:
    task, (model, _) = tiny(), models()
    forget, table = task.split("forget"), imu.token_scores(task, model)
    rows = explicit(task, model, forget)
    direction = rows.mean(0) / (rows.square().mean(0) + 1e-2)
    loss = task.token_losses(model, forget.batch(slice(3, 4)))[0, 4] / 7
    mine = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.head.parameters()))])
    largest = table["influence"].abs().max()
    assert cases.close(table["influence"].iloc[3 * 7 + 4], -(mine @ direction), within=1e-5, of=largest)


def test_some_sequences_in_the_order_asked() -> None:
    task, (model, _) = tiny(), models()
    whole, some = imu.token_scores(task, model), imu.token_scores(task, model, [52, 41])
    assert some["example"].unique().tolist() == [52, 41]
    expected = whole.set_index("example").loc[[52, 41]]["influence"]
    assert cases.close(some["influence"], expected, within=1e-5)


def test_what_has_no_tokens_is_refused() -> None:
    padded = padding.Padded()
    with pytest.raises(TypeError, match=r'need to know the tokens, as batch.targets\["tokens"\].*Padded gives none'):
        imu.token_scores(padded, padded.make_model(0))
    with pytest.raises(TypeError, match="token scores need a task of sequences"):
        imu.token_scores(cases.task("toy"), cases.original("toy"))
    with pytest.raises(TypeError, match="whose readout is one linear layer"):
        imu.token_scores(tiny(readout="all"), models()[0])
    with pytest.raises(ValueError, match=r"sequences \[3\] are not among the 20 to be forgotten"):
        imu.token_scores(tiny(), models()[0], [3, 41])
    with pytest.raises(ValueError, match="damping"):
        imu.token_scores(tiny(), models()[0], damping=-1)


class Chain(nn.Module):
    """Predicts the true chain of source 1."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, T) to (n, T, K)."""
        return sequences.CHAINS[1].float().log()[tokens]


def test_the_learned_matrix_of_the_chain_is_the_chain() -> None:
    matrix = learned(tiny(), Chain(), "source-1")
    seen = ~matrix.isnan().any(1)
    assert seen.sum() >= 5 and cases.close(matrix[seen], sequences.CHAINS[1][seen], within=1e-6)


def test_the_learned_matrix_is_the_mean_prediction_after_each_state() -> None:
    task, (model, _) = tiny(), models()
    batch = task.split("source-1").batch()
    probability, now = model(batch.inputs).softmax(-1), batch.inputs
    found = imu.metrics.create("transitions", source=1)(task, model)["source-1"]
    assert len(found) == 36
    for state, following in ((2, 3), (3, 2), (0, 5)):
        expected = probability[now == state][:, following].mean().item()
        assert cases.close(found[f"{state}→{following}"], expected, within=1e-6)


def test_a_task_without_sequences_has_no_transitions() -> None:
    assert imu.metrics.create("transitions")(cases.task("toy"), cases.original("toy")) == {}
