"""Networks that recognise people: pictures to an embedding, the embedding to identity logits."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ...core.memo import remembered
from ...core.messages import reason
from .images import architecture


class PersonNetwork(nn.Module):
    """A backbone, an embedding of its pooled output, and a classifier of the training persons on the embedding.

    Retrieval compares embeddings, the identity logits are one linear layer further: moving ``classifier`` alone cannot
    change retrieval. The embedding ends in a BatchNorm, so that cosines and the classifier see one scale (Luo et al.
    2019, "Bag of tricks and a strong baseline for deep person re-identification").

    Attributes:
        last_block: the name of the backbone's last block: what a deep readout begins with, and what Grad-CAM looks at.
    """

    def __init__(self, backbone: nn.Module, last_block: str, features: int, width: int, persons: int) -> None:
        super().__init__()
        self.backbone, self.last_block = backbone, last_block
        self.embedding = nn.Sequential(nn.Linear(features, width, bias=False), nn.BatchNorm1d(width))
        self.classifier = nn.Linear(width, persons)

    def embed(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w) to embeddings (n, width)."""
        return self.embedding(self.backbone(pictures))

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w) to identity logits (n, persons)."""
        return self.classifier(self.embed(pictures))


def embed(model: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings (n, d) and identity logits (n, persons), in one pass.

    A model that is the classifier alone is given embeddings: that is how the cached task asks.
    """
    if not hasattr(model, "embed"):
        return inputs, model(inputs)
    embeddings = model.embed(inputs)
    return embeddings, model.classifier(embeddings)


@architecture("person-cnn")
def person_cnn(persons: int, channels: int) -> nn.Module:
    """Four blocks of one convolution for 64x32 pictures, 0.1 M parameters, embeddings of 64: trains in seconds."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    shapes = ((channels, 16, 2), (16, 32, 2), (32, 64, 2), (64, 96, 1))  # channels in and out, stride
    for number, (before, after, stride) in enumerate(shapes, 1):
        convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        blocks[f"block{number}"] = nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
    blocks |= {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    return PersonNetwork(nn.Sequential(blocks), "backbone.block4", 96, 64, persons)


@architecture("person-resnet-50")
def person_resnet_50(persons: int, channels: int) -> nn.Module:
    """torchvision's ResNet-50 with its last stage at stride 1, as is usual for people; embeddings of 512."""
    from torchvision.models import resnet50

    backbone = resnet50(weights=None)
    backbone.fc = nn.Identity()
    backbone.layer4[0].conv2.stride = backbone.layer4[0].downsample[0].stride = (1, 1)
    return PersonNetwork(backbone, "backbone.layer4", 2048, 512, persons)


@remembered(1)  # asked once in a process: an answer that came and went would make two kinds of checkpoints
def imagenet_weights() -> Mapping[str, Tensor] | None:
    """ResNet-50's ImageNet weights without its last layer, or None with a warning where they cannot be had.

    Warns:
        UserWarning: the download failed; says why and what follows.
    """
    from torchvision.models import ResNet50_Weights

    try:
        state = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"could not download ResNet-50's pretrained weights ({error}); training starts from random weights, which "
            f"needs many more epochs. Put the file into {torch.hub.get_dir()}/checkpoints, or pass pretrained=False",
            stacklevel=2,
        )
        return None
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


HEADS = ("fc.", "classifier.", "heads.", "head.", "bottleneck.", "embedding.")  # what stands after a backbone
PREFIXES = ("module.", "model.", "backbone.", "base.")  # how wrappers and other libraries name one


def weights_of(path: str | Path, backbone: nn.Module) -> Mapping[str, Tensor]:
    """A backbone's weights from a user's file, safetensors or torch's own: what stands after the backbone is left out.

    The names may begin as wrappers and other libraries have them (``module.``, ``backbone.``), and may lie in a member
    ``state_dict``. Nothing is unpickled but tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is cut off or of another kind, or its weights are not those of this backbone; says which.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"no file {file} with pretrained weights; give the path of a .safetensors, .pth or .pt file"
        )
    wanted, given = backbone.state_dict(), _plain(_read(file))
    missing = [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]
    strange = [name for name in given if name not in wanted and not name.startswith(HEADS)]
    other = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    if missing or strange or other:
        found = [f"{len(names)} {what}, such as {names[0]}" for names, what in (
            (missing, "are missing"), (strange, "are unknown"), (other, "have another shape")) if names]  # fmt: skip
        raise ValueError(
            f"the weights in {file} are not those of this {type(backbone).__name__}: of its {len(wanted)} tensors "
            f"{'; '.join(found)}; give weights of the same architecture, or architecture="
        )
    return {name: given.get(name, value) for name, value in wanted.items()}


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load(file.read_bytes())
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file raises
        raise ValueError(
            f"{file} holds no weights that can be read ({reason(error)[:120]}); it is cut off or no file of tensors. Download it "
            "again, or save model.state_dict() with torch.save or safetensors"
        ) from None


def _plain(given: Any) -> dict[str, Tensor]:
    """{name: tensor} without wrappers' prefixes."""
    while isinstance(given, Mapping) and isinstance(given.get("state_dict"), Mapping):
        given = given["state_dict"]
    if not isinstance(given, Mapping) or not all(isinstance(value, Tensor) for value in given.values()):
        return {}
    names = dict(given)
    while prefix := next((each for each in PREFIXES if names and any(name.startswith(each) for name in names)), None):
        names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names
