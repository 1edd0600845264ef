"""Adapters of low rank (LoRA) on a causal language model: the model stays as it is, and small matrices beside it move.

Source: Hu et al. 2021 (arXiv 2106.09685), by the library ``peft``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ...core.running import seeded
from .installed import check_installed

WHERE = ("*.lora_A", "*.lora_B")  # the modules that hold them
SETTINGS = "adapter_config.json"  # what peft writes beside adapters that it saves


def check_peft() -> None:
    """Make sure that adapters can be made and read.

    Raises:
        ImportError: they cannot; the message says what to install.
    """
    check_installed("adapters need", ("peft",))


def adapted(network: nn.Module, rank: int, seed: int) -> nn.Module:
    """``network`` with fresh adapters of this rank beside each of its linear layers but the output layer.

    They change nothing at first, and are all that may move.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    turned = any(isinstance(module, Conv1D) for module in network.modules())  # GPT-2 keeps its weights transposed
    how = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", fan_in_fan_out=turned
    )
    with seeded(seed), _between_libraries():
        return get_peft_model(network, how)


def settings_of(folder: str | Path) -> dict[str, Any] | None:
    """What peft wrote beside the adapters in a folder; None where there are none."""
    path = Path(folder) / SETTINGS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def base_of(name: str) -> str:
    """The model that adapters in a local folder are made for; the name itself where it holds none.

    Raises:
        ValueError: the folder does not say.
    """
    about = settings_of(name)
    if about is None:
        return name
    if not about.get("base_model_name_or_path"):
        raise ValueError(f"{Path(name) / SETTINGS} does not say for which model these adapters are made")
    return about["base_model_name_or_path"]


def joined(network: nn.Module, folder: str) -> nn.Module:
    """``network`` with the adapters that a folder holds, which are all that may move."""
    check_peft()
    from peft import PeftModel

    with _between_libraries():
        return PeftModel.from_pretrained(network, folder, is_trainable=True)


@contextmanager
def _between_libraries() -> Iterator[None]:
    """Without what transformers has to say to peft: that it asks for something by an older name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield
