"""Causal language models by name or local path: what they need is looked at before anything large is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ...core.memo import remembered
from ...core.messages import listed, with_article
from . import adapters
from .language import CausalModel, Codec, codec, untied


@remembered(4)
def loaded_codec(name: str) -> Codec:
    """That of a model by name or local path."""
    from transformers import AutoConfig, AutoTokenizer

    with _named(name):
        config = AutoConfig.from_pretrained(base := adapters.base_of(name))
        tokenizer = AutoTokenizer.from_pretrained(name if (Path(name) / "tokenizer_config.json").is_file() else base)
    config = config.get_text_config()
    known = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 2**20
    # Within its window a layer that slides one sees all that came before, as the mask of padded pairs has it.
    known = min(known, getattr(config, "sliding_window", None) or known)
    return codec(tokenizer, known, known_words=getattr(config, "vocab_size", None))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say in one sentence that there is no such model.

    Raises:
        FileNotFoundError: it is neither a folder with a model nor can be had from the hub.
    """
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        place = Path(name)
        holds = (
            f"it holds {listed(sorted(path.name for path in place.iterdir())[:8])}"
            if place.is_dir()
            else "it is no folder here"
        )
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
        raise FileNotFoundError(
            f"no causal language model can be read from {name!r}: {holds}, and transformers says: {reason[:200]}. Give a "
            "folder with config.json, weights and tokenizer, or the name of a model on the hub of Hugging Face"
        ) from error


def loaded(name: str) -> CausalModel:
    """A pretrained model by name or local path, in its own dtype, its output layer with weights of its own.

    A folder with adapters gives the model that they are made for, with them.

    Raises:
        FileNotFoundError: there is no such model, or it cannot be fetched.
        MemoryError: its weights hold more than is free; said before one is fetched or read.
        ValueError: the files lack some of its weights.
    """
    from transformers import AutoModelForCausalLM

    base = adapters.base_of(name)
    check_fits(base)
    with _named(name):
        network, found = AutoModelForCausalLM.from_pretrained(base, dtype="auto", output_loading_info=True)
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"the files of {name!r} lack {len(missing)} of the weights of {with_article(type(network).__name__)}, "
            f"such as {missing[0]!r}, which would be random; give a model that was saved as a causal language model"
        )
    network = untied(network)
    return CausalModel(network if base == name else adapters.joined(network, name))


def check_fits(name: str) -> None:
    """Make sure that a model's weights fit in memory: by the files of a local folder, else by what its configuration says.

    Raises:
        FileNotFoundError: a name that is not known here, and the hub cannot be asked.
        MemoryError: they do not.
    """
    folder = Path(name)
    if folder.is_dir():
        files = [path for ending in ("*.safetensors", "*.bin") for path in folder.glob(ending)]
        check_room(sum(path.stat().st_size for path in files), f"the weights in {folder}")
    else:
        check_room(*_told_size(name))


def _told_size(name: str) -> tuple[int, str]:
    """Bytes of the weights of a model on the hub, and what to call them; only its configuration is fetched."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with _named(name):
        config = AutoConfig.from_pretrained(name)
        with torch.device("meta"):  # the network without its numbers
            network = AutoModelForCausalLM.from_config(config)
    count = sum(value.numel() for value in network.parameters())
    each = getattr(config, "dtype", None) or torch.float32
    return count * each.itemsize, f"the {count / 1e6:,.0f} M parameters of {name!r}"


def check_room(size: int, what: str) -> None:
    """Raise MemoryError unless so many bytes are free."""
    free = free_memory()
    if size > free:
        raise MemoryError(
            f"{what} would take {size / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; take a smaller model, or one "
            "stored in half precision"
        )


def free_memory() -> float:
    """Bytes that may still be taken, without a limit where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * float(next(line.split()[1] for line in lines if line.startswith("MemAvailable")))
    except (OSError, StopIteration):
        return float("inf")
