"""Networks that recognise people: pictures to an embedding, the embedding to identity logits."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...core.memo import remembered
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
