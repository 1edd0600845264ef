"""Threads, random state and modes are put back; digests see content and nothing else."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from imu_lab.core.running import (
    device_of,
    digest,
    evaluating,
    fingerprint,
    one_thread,
    real_numbers,
    row_hashes,
    same_tensors,
    seeded,
    tensors_of,
)


def test_one_thread_is_restored_also_after_an_error() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), one_thread():
        assert torch.get_num_threads() == 1
        _ = 1 / 0
    assert torch.get_num_threads() == 2


def test_seeded_draws_the_same_and_leaves_no_trace() -> None:
    before = torch.get_rng_state()
    with seeded(5):
        first = torch.rand(3)
    with pytest.raises(ZeroDivisionError), seeded(5):
        assert torch.equal(torch.rand(3), first)
        _ = 1 / 0
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluating_restores_each_module_on_its_own() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    model.train()[1].eval()[0].train()
    modes = [module.training for module in model.modules()]
    with pytest.raises(ZeroDivisionError), evaluating(model):
        assert not any(module.training for module in model.modules())
        _ = 1 / 0
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2


def test_a_model_without_parameters_lives_on_the_cpu() -> None:
    assert device_of(nn.ReLU()).type == "cpu" and device_of(nn.Linear(1, 1, device="meta")).type == "meta"


DIFFERENT = [
    torch.zeros(4),
    torch.zeros(2, 2),
    torch.zeros(4, dtype=torch.float64),
    torch.zeros(4, dtype=torch.int32),
    -torch.zeros(4),
    torch.zeros(5),
    torch.tensor([True, False]),
    torch.tensor(1.0),
    torch.zeros(0),
    np.zeros(4),
    np.zeros((2, 2)),
    np.zeros(4, np.float32),
    "zeros",
    b"zeros",
    (0, 0, 0, 0),
    None,
]


def test_different_contents_have_different_digests() -> None:
    found = [digest(part) for part in DIFFERENT]
    assert len(set(found)) == len(DIFFERENT)
    assert digest("a", "b") != digest("b", "a") and digest("a", "b") != digest("ab")


def test_equal_contents_have_equal_digests() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    assert digest(values) == digest(values.clone()) == digest(values.T.contiguous().T)
    assert digest(values[:, ::2]) == digest(values[:, ::2].clone())
    assert digest(values.numpy()[:, 1:]) == digest(values.numpy()[:, 1:].copy())


def edits(values: np.ndarray) -> dict[str, np.ndarray]:
    """What a person may do to an array, or an accident."""
    one, swapped, two = values.copy(), values.copy(), values.copy()
    one.reshape(-1).view(np.uint8)[-1] ^= 1
    swapped[[0, 1]] = swapped[[1, 0]]
    two.reshape(-1)[[3, 5]] *= -1
    return {
        "one bit": one, "rows in another order": swapped, "two signs": two, "all signs": -values,
        "reversed": values[::-1], "another shape": values.reshape(-1, 1), "shorter": values[:-1],
        "another type": values.view(np.uint32 if values.itemsize == 4 else np.int64),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 7), (300, 77), (3, 40_000), (4096, 128)])
def test_a_fingerprint_sees_every_edit_and_nothing_else(shape: tuple[int, int], dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    mine = fingerprint(values)
    same = [values.copy(), np.asfortranarray(values), np.repeat(values, 2, 0)[::2]]
    assert {fingerprint(each) for each in same} == {mine}
    found = {name: fingerprint(each) for name, each in edits(values).items()}
    assert len({mine, *found.values()}) == len(found) + 1, found
    assert fingerprint(torch.from_numpy(values)) == fingerprint(torch.from_numpy(values).clone()) != mine


def holding(values: object) -> nn.Module:
    """A module whose only tensor is this."""
    made = nn.Module()
    made.register_buffer("held", values if isinstance(values, torch.Tensor) else torch.from_numpy(values))
    return made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4, 7), (3, 5), (300, 77)])
def test_models_are_the_same_exactly_where_their_tensors_are_bit_for_bit(shape: tuple[int, int], dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    values[0, 0], values[1, 1] = np.nan, 0.0
    zeros = values.copy()
    zeros[1, 1] = -0.0
    for name, other in {**edits(values), "the sign of zero": zeros}.items():
        assert not same_tensors(holding(values), holding(other.copy())), name
    padded = np.concatenate([[dtype(1)], values.reshape(-1)])
    odd = torch.from_numpy(padded)[1:].view(shape)  # where in memory it begins is nobody's business, nor its strides
    for name, other in {"copy": values.copy(), "odd place": odd, "strides": np.asfortranarray(values)}.items():
        assert same_tensors(holding(values), holding(other)) and same_tensors(holding(other), holding(values)), name


def test_models_with_other_names_or_more_tensors_are_not_the_same() -> None:
    layer = nn.Linear(3, 2).to(torch.bfloat16)
    assert same_tensors(layer, copy.deepcopy(layer)) and not same_tensors(layer, nn.Sequential(layer))
    assert not same_tensors(layer, nn.Linear(3, 2, bias=False)) and same_tensors(nn.Flatten(), nn.Flatten())
    turned = holding(torch.ones(3, dtype=torch.complex64).conj())
    assert same_tensors(turned, holding(torch.ones(3, dtype=torch.complex64).conj().resolve_conj()))


def test_the_tensors_of_a_model_are_those_that_torch_names_in_its_order() -> None:
    model = nn.Sequential(
        nn.Linear(3, 3), nn.BatchNorm1d(3, affine=False), nn.Sequential(nn.Linear(3, 3, bias=False)), nn.ReLU()
    )
    model[2][0].weight = model[0].weight  # tied, under both of its names
    model.register_buffer("nothing", None)
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    for left_out, kept in (("", named), ("2", [each for each in named if not each[0].startswith("2.")])):
        parts = tensors_of(model, left_out)
        assert parts[::2] == [key for key, _ in kept] and len(kept) > 4
        assert all(mine is theirs for mine, (_, theirs) in zip(parts[1::2], kept, strict=True))


def test_a_fingerprint_of_few_different_values_sees_signs_and_places() -> None:
    """Numbers such as ±1 differ in their highest bits alone, where a product modulo 2^64 loses them."""
    values = np.ones((200, 640))
    seen = {fingerprint(values)}
    for row, column in ((0, 0), (0, 1), (7, 639), (199, 3)):
        flipped = values.copy()
        flipped[row, column] = flipped[100, 100] = -1
        seen.add(fingerprint(flipped))
    assert len(seen) == 5


@pytest.mark.few(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool, torch.bfloat16, torch.int64, torch.float16])
def test_rows_hash_alike_exactly_where_they_are_alike(dtype: torch.dtype) -> None:
    rows = (torch.randn(500, 3, 5, generator=torch.Generator().manual_seed(0)) * 9).abs().to(dtype)
    rows[77], rows[400] = rows[3], rows[5]
    hashes = row_hashes(rows)
    same = [(i, j) for i in range(500) for j in range(i) if hashes[i] == hashes[j]]
    assert same == [(i, j) for i in range(500) for j in range(i) if torch.equal(rows[i], rows[j])]
    assert np.array_equal(row_hashes(rows[::7]), hashes[::7]) and len(row_hashes(rows[:0])) == 0
    wide = torch.randn(3, 70_000)
    assert len(set(row_hashes(torch.cat([wide, wide])).tolist())) == 3


def disguises(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Other contents of the same (n, b) bytes that a hash of words might take for the same."""
    words = rows[:, : rows.shape[1] // 8 * 8].copy().view(np.uint64)
    made = {"complement": ~rows, "rows the other way round": rows[::-1], "halves swapped": np.roll(rows, 4, 1)}
    made["words swapped"] = np.concatenate(
        [words[:, ::-1].copy().view(np.uint8), rows[:, words.nbytes // len(rows) :]], 1
    )
    for name, flipped in {
        "signs of float64": 1 << 63, "signs of float32": 1 << 63 | 1 << 31, "signs of int8": 0x8080808080808080,
        "high halves": 0xFFFFFFFF << 32, "low halves": 0xFFFFFFFF,
    }.items():  # fmt: skip
        every, two = rows.copy(), rows.copy()
        width = words.shape[1] * 8
        every[:, :width] = (words ^ np.uint64(flipped)).view(np.uint8)
        two[:, :16] = (words[:, :2] ^ np.uint64(flipped)).view(np.uint8)
        made |= {name: every, f"{name} of two words": two}
    for bit in range(64):
        made[f"bit {bit}"] = rows.copy()
        made[f"bit {bit}"][:, 8 + bit // 8] ^= np.uint8(1 << bit % 8)
    return made


@pytest.mark.parametrize("content", ["random", "zeros", "few values"])
@pytest.mark.parametrize("shape", [(4, 16), (6, 784), (5, 35), (4, 783), (3, 70_001), (2, 131_072)])
def test_no_disguise_of_the_content_is_taken_for_it(shape: tuple[int, int], content: str) -> None:
    """Pictures x and 255 - x are complements of each other in every bit."""
    most = {"random": 256, "zeros": 1, "few values": 2}[content]
    rows = np.random.default_rng(0).integers(0, most, shape, dtype=np.uint8)
    fingers, hashes = fingerprint(rows), row_hashes(rows)
    for name, other in disguises(rows).items():
        alike = (other == rows).all(1)
        assert np.array_equal(row_hashes(other) == hashes, alike), name
        assert (fingerprint(other) == fingers) == alike.all(), name
        assert (fingerprint(torch.from_numpy(other.copy())) == fingerprint(torch.from_numpy(rows))) == alike.all(), name


def test_a_fingerprint_takes_whatever_a_digest_takes() -> None:
    parts = ("words", 3, torch.ones(2), np.arange(3), torch.tensor(1.5), np.empty((0, 3)), torch.empty(0))
    assert fingerprint(*parts) == fingerprint(*parts) != fingerprint(*parts[1:])
    assert fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(3)) != fingerprint(torch.zeros(3, 1))


@pytest.mark.parametrize(
    "given",
    [
        [-1, -2.0],
        torch.tensor([-1.0, -2.0], dtype=torch.bfloat16),
        torch.tensor([-1.0, -2.0], requires_grad=True),
        pd.Series([-1, -2], index=[3, 8]),
    ],
)
def test_numbers_in_any_form(given: object) -> None:
    assert real_numbers(given).tolist() == [-1.0, -2.0] and real_numbers(given).dtype == np.float64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.ones(2) * 1j, "complex"),
        (np.ones(2) * 1j, "complex"),
        (["a", "b"], "no numbers"),
        ({0: 1.0}, "no numbers"),
        (pd.Series([1.0, 2.0], index=[1, 0]), "it was sorted"),
    ],
)
def test_what_is_no_row_of_real_numbers_is_refused(given: object, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        real_numbers(given)
