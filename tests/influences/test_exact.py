"""The inverse of the damped curvature: however it is found, it is that of a dense oracle in double precision."""

from __future__ import annotations

from collections.abc import Iterator

import cases
import pytest
import torch
from torch import Tensor, nn

import imu_lab as imu
from imu_lab.core.running import one_thread
from imu_lab.features import view
from imu_lab.influences import exact
from imu_lab.influences.exact import Solver, conjugate_gradients


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    """Many tiny products: one thread is faster."""
    with one_thread():
        yield


class Given:
    """A curvature that is given, and counts its products."""

    def __init__(self, matrix: Tensor, forming: float = 1e9, precise: bool = True) -> None:
        self.held, self.forming, self.precise, self.products, self.formed = matrix, forming, precise, 0, 0

    def times(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.held.to(vector) @ vector

    def matrix(self) -> Tensor:
        self.formed += 1
        return self.held.clone()

    def likeness(self, damping: float) -> None:
        return None


def spread(size: int = 60, condition: float = 1e3) -> tuple[Tensor, Tensor]:
    """A symmetric matrix with eigenvalues from 1 to ``condition``, and a vector."""
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(0, torch.tensor(condition).log10().item(), size, dtype=torch.float64)
    return turned @ torch.diag(values) @ turned.T, torch.randn(size, generator=generator, dtype=torch.float64)


def solved(matrix: Tensor, vector: Tensor, damping: float) -> Tensor:
    return torch.linalg.solve(matrix + damping * torch.eye(len(matrix), dtype=torch.float64), vector)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iterated_it_is_the_solution_in_either_precision(dtype: torch.dtype, condition: float) -> None:
    matrix, vector = spread(condition=condition)
    curvature = Given(matrix)
    found = Solver(curvature, 0.5, 1e-10)(vector.to(dtype))
    assert found.dtype is dtype and curvature.formed == 0
    assert (
        cases.relative(found.double(), solved(matrix, vector, 0.5)) <= {torch.float32: 1e-3, torch.float64: 1e-6}[dtype]
    )


def test_where_single_precision_leads_nowhere_the_matrix_is_factored() -> None:
    matrix, vector = spread(condition=1e9)
    curvature = Given(matrix)
    found = Solver(curvature, 1e-3, 1e-10)(vector.float())
    assert curvature.formed == 1 and cases.relative(found.double(), solved(matrix, vector, 1e-3)) <= 1e-3


def test_a_small_matrix_is_formed_at_once() -> None:
    matrix, vector = spread()
    curvature = Given(matrix, forming=exact.AT_ONCE - 1)
    assert cases.relative(Solver(curvature, 0.5, 1e-10)(vector), solved(matrix, vector, 0.5)) <= 1e-9
    assert (curvature.products, curvature.formed) == (0, 1)


def test_no_more_is_spent_on_iterations_than_the_matrix_costs_and_it_is_factored_once() -> None:
    matrix, vector = spread(condition=1e4)
    curvature = Given(matrix, forming=100)
    solve = Solver(curvature, 0.5, 1e-10)
    for scale in (1.0, -2.0, 3.0, 4.0):
        assert cases.relative(solve(scale * vector), scale * solved(matrix, vector, 0.5)) <= 1e-6
    assert curvature.products <= 100 and curvature.formed == 1


def test_a_vector_of_zeros_is_solved_by_zeros() -> None:
    matrix, vector = spread()
    for dtype in (torch.float32, torch.float64):
        assert not Solver(Given(matrix), 0.5, 1e-10)(torch.zeros_like(vector, dtype=dtype)).any()


def test_where_no_matrix_fits_and_nothing_converges_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, vector = spread(condition=1e6)
    monkeypatch.setattr(exact, "DENSE_LIMIT", 10)
    monkeypatch.setattr(exact, "MOST", 5)
    with pytest.raises(ArithmeticError, match="did not converge in 5 products; use more damping"):
        Solver(Given(matrix), 1e-3, 1e-10)(vector)


def test_a_curvature_that_bends_down_is_refused() -> None:
    matrix, vector = spread()
    with pytest.raises(ArithmeticError, match="a damping of 0.5 is not positive definite; use more damping"):
        Solver(Given(matrix - 30 * torch.eye(len(matrix))), 0.5, 1e-10)(vector)


def test_what_is_not_finite_stays_so_and_is_found_at_once() -> None:
    matrix, vector = spread()
    curvature = Given(matrix)
    assert torch.isnan(Solver(curvature, 0.5, 1e-10)(vector * torch.nan)).all() and curvature.products <= 1


def test_a_likeness_saves_products_and_changes_nothing_else() -> None:
    matrix, vector = spread(condition=1e4)
    inverse = torch.linalg.inv(matrix + 3 * torch.eye(len(matrix)))
    plain, many = conjugate_gradients(lambda v: matrix @ v, vector, 1e-10, 1000)
    shaped, few = conjugate_gradients(lambda v: matrix @ v, vector, 1e-10, 1000, lambda v: inverse @ v)
    assert few < many / 2 and cases.relative(shaped, plain) <= 1e-6
    assert conjugate_gradients(lambda v: matrix @ v, vector, 1e-10, 3) == (None, 3)


@pytest.mark.parametrize("damping", [1e-6, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(40, 3), (300, 20)])
def test_influences_on_a_head_are_those_of_a_dense_hessian_in_double(
    size: tuple[int, int], dtype: torch.dtype, damping: float
) -> None:
    task, head, x, y = heads(*size, dtype)
    found = imu.influence(task, head, "exact", damping=damping).values
    weight, logits = torch.cat([x, torch.ones(len(x), 1)], 1).double(), head.double()(x.double())
    p = logits.softmax(1).detach()
    error = p - nn.functional.one_hot(y, p.shape[1])
    each = (error[:, :, None] * weight[:, None, :]).flatten(1)
    second = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    matrix = torch.einsum("nkl,ni,nj->kilj", second, weight, weight).reshape(each.shape[1], -1) / len(x)
    expected = -each @ solved(matrix, each.mean(0), damping)
    promised = {torch.float32: 1e-3, torch.float64: 1e-6}[dtype]
    assert cases.relative(torch.tensor(found), expected) <= promised


def heads(count: int, width: int, dtype: torch.dtype) -> tuple[imu.tasks.Task, nn.Module, Tensor, Tensor]:
    """Features as a network has them, positive and of unequal size, under a head that knows most labels."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count + 20, width, generator=generator, dtype=dtype).abs() * torch.linspace(0.3, 3, width)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        head = nn.Linear(width, 4).to(dtype)
    with torch.no_grad():
        head.weight *= 3
    y = head(x).argmax(1)
    y[::7], y[-4:], y[:4] = 1, torch.arange(4), torch.arange(4)
    task = imu.tasks.Classification.from_data(head, (x[:-5], y[:-5]), (x[-5:], y[-5:]), forget_indices=range(count))
    return task, head, x[:count].to(dtype), y[:count]


def test_the_pairwise_matrix_of_exact_is_each_samples_own_influence() -> None:
    task, head, *_ = heads(60, 6, torch.float64)
    pairs = imu.influence_matrix(task, head, "exact", damping=1e-3, against=("forget", [0, 7, 11]))
    seen, part = view(task, head)
    forget = seen.split("forget")
    for column, sample in enumerate([0, 7, 11]):
        alone = imu.estimators.create("exact", damping=1e-3)(seen, part, forget, forget.take(torch.tensor([sample])))
        assert cases.relative(torch.tensor(pairs.values[:, column]), alone) <= 1e-6
