"""Causal language models as a task about pairs calls them: words to tokens, prompts and answers to logits, greedy answers.

Nothing here needs a token for padding: what is padded holds ``PAD``, is told apart by that and seen by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ...core.memo import remembered
from ...core.running import device_of, digest, evaluating, own_modules, seeded
from ..sources.pairs import Corpus

PAD = -1  # in place of a token where there is none
LONGEST = 512  # tokens that the small model reads at most
TOGETHER = 64  # questions answered at once
CONTENT = "\ue000 what is said \ue000"  # stands in a chat template for what a person says


class Shape(NamedTuple):
    """The size of a small Llama: width of a token's vector, blocks, attention heads per block, tokens of the vocabulary."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    words: int = 1024


@dataclass(frozen=True, eq=False)
class Codec:
    """Words to tokens and back, in the form in which a model is asked.

    What a pair says never becomes a special token, even where it is spelled like one.

    Attributes:
        tokenizer: of ``transformers``.
        before, between: tokens before the question, and between it and the answer.
        lead: what stands before the first word of an answer.
        context: tokens that the model reads at most.
        key: a digest of all that.
        known_words: how many tokens the model knows; a tokenizer may have fewer, or more that no pair uses.
    """

    tokenizer: Any
    before: tuple[int, ...]
    between: tuple[int, ...]
    lead: str
    context: int
    key: str
    known_words: int

    @property
    def end(self) -> int:
        """The token that ends an answer."""
        return self.tokenizer.eos_token_id

    @property
    def words(self) -> int:
        """K, how many different tokens there are."""
        return len(self.tokenizer)

    def prompts(self, questions: Sequence[str]) -> list[list[int]]:
        """The tokens of each prompt: the question in the form in which the model is asked."""
        return [[*self.before, *ids, *self.between] for ids in self._plain(questions)]

    def answers(self, answers: Sequence[str]) -> list[list[int]]:
        """The tokens of each answer and the one that ends it."""
        return [[*ids, self.end] for ids in self._plain([self.lead + answer for answer in answers])]

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        how = dict(add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False)
        return self.tokenizer(list(texts), **how)["input_ids"] if texts else []

    def said(self, tokens: Iterable[int]) -> str:
        """The words of an answer, up to its end."""
        tokens = [token for token in tokens if token != PAD]
        tokens = tokens[: tokens.index(self.end)] if self.end in tokens else tokens
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()


@remembered(4)
def trained_codec(corpus: Corpus, words: int) -> Codec:
    """The small model's: byte pairs learned from all that the corpus says, so that no text is unknown to it.

    The original and the retrained model share it, so the names of the forgotten are words for both.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = [
        text
        for pair in (*corpus.train, *corpus.test, *corpus.holdout)
        for text in (pair.question, *(f" {said}" for said in (pair.answer, pair.paraphrased or "", *pair.wrong)))
    ]
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer, pairs.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pairs.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=words, show_progress=False, special_tokens=["<end>"], initial_alphabet=alphabet),
    )
    return codec(PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token="<end>"), LONGEST, ("", "\n"))


def codec(
    tokenizer: Any,
    context: int,
    form: tuple[str, str] = ("Question: ", "\nAnswer:"),
    known_words: int | None = None,
) -> Codec:
    """Around a tokenizer: by its chat template where it has one, else in this form.

    Raises:
        ValueError: it has no token that ends a text, or a chat template that no question fits into.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"this {type(tokenizer).__name__} has no token that ends a text, so no answer could end; set eos_token"
        )
    if tokenizer.chat_template:
        form, lead = _by_template(tokenizer), ""
        before = tokenizer(form[0], add_special_tokens=False)["input_ids"] if form[0] else []
    else:
        lead = " "
        before = [token for token in tokenizer(form[0])["input_ids"] if token != tokenizer.eos_token_id]
    between = tokenizer(form[1], add_special_tokens=False)["input_ids"]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    key = digest(content, before, between, lead, context, tokenizer.eos_token_id)
    return Codec(tokenizer, tuple(before), tuple(between), lead, context, key, known_words or len(tokenizer))


def _by_template(tokenizer: Any) -> tuple[str, str]:
    """What a tokenizer's chat template writes before and after what a person says.

    Raises:
        ValueError: it fails on one question, or writes it otherwise than once and as it is.
    """
    asked = [{"role": "user", "content": CONTENT}]
    try:
        whole = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # whatever a template raises, it is a template of somebody's
        raise ValueError(
            f"the tokenizer's chat template fails on one question of a user ({' '.join(str(error).split())[:120]}); mend it, or "
            "set chat_template to None"
        ) from error
    if whole.count(CONTENT) != 1:
        how = "changes what a person says" if CONTENT not in whole else "says it several times"
        raise ValueError(
            f"the tokenizer's chat template {how}, so no prompt can be made of it; set chat_template to None"
        )
    before, after = whole.split(CONTENT)
    return before, after


class CausalModel(nn.Module):
    """A causal language model of ``transformers`` as a task about pairs calls it.

    Called with ``{"prompt": (n, P), "answer": (n, A)}`` it gives (n, A, K), the logits of each token of the answers,
    where place j has seen the prompt and the answer's tokens before j. Prompts are padded on the left, answers on the
    right, both with ``PAD``.

    Args:
        network: which belongs to this model from now on: what its makers advise for writing texts, such as drawing words at
            random or avoiding repetitions, is taken away, for it would change what greedy means.
    """

    def __init__(self, network: nn.Module) -> None:
        from transformers import GenerationConfig

        super().__init__()
        self.network = network
        network.generation_config = GenerationConfig()

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """(n, A, K)."""
        answer = inputs["answer"]
        tokens = torch.cat([inputs["prompt"], answer[:, :-1]], 1)  # (n, T)
        seen = tokens != PAD
        places = (seen.long().cumsum(1) - 1).clamp_min(0)
        return self.network(
            input_ids=tokens.clamp_min(0),
            attention_mask=_mask(seen, self.network.dtype),
            position_ids=places,
            use_cache=False,
            logits_to_keep=answer.shape[1],
        ).logits

    @torch.no_grad()
    def continued(self, prompts: Tensor, end: int, most: int) -> Tensor:
        """(n, most) the greedy continuation of prompts (n, P), up to ``end``; ``PAD`` after it."""
        from transformers import GenerationConfig

        seen = prompts != PAD
        how = GenerationConfig(max_new_tokens=most, do_sample=False, num_beams=1, eos_token_id=end, pad_token_id=end)
        with evaluating(self):
            made = self.network.generate(prompts.clamp_min(0), attention_mask=seen.long(), generation_config=how)
        made = nn.functional.pad(made[:, prompts.shape[1] :], (0, most + prompts.shape[1] - made.shape[1]), value=end)
        after = (made == end).long().cumsum(1) - (made == end).long() > 0
        return made.masked_fill(after, PAD)


def _mask(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, 1, T, T) what is added to attention: nothing where a place may look, the least number where not.

    A place looks at itself and at those before it that hold a token; one without a token at itself alone, so that no
    row is without anything to look at.
    """
    length = seen.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=seen.device)
    may = (before & seen[:, None, None, :]) | itself
    return torch.zeros((), dtype=dtype, device=seen.device).masked_fill(~may, torch.finfo(dtype).min)


def size_of(codec: Codec, shape: Shape) -> int:
    """Bytes of the weights of a small Llama."""
    width = shape.width
    block = 4 * width**2 + 3 * width * 3 * width + 2 * width
    return 4 * (2 * codec.words * width + shape.layers * block + width)


def small(codec: Codec, shape: Shape, seed: int) -> CausalModel:
    """A fresh small Llama under ``seed``, its output layer with weights of its own."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=codec.words,
        hidden_size=shape.width,
        intermediate_size=3 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=codec.context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=codec.end,
    )
    with seeded(seed):
        return CausalModel(LlamaForCausalLM(config))


def called(model: nn.Module) -> nn.Module:
    """A model as the task calls it: one of ``transformers`` in the form above, any other as it is.

    The given model stays as it is: where its output layer is tied to its embedding, only that layer is copied.
    """
    if isinstance(model, CausalModel) or not hasattr(model, "get_output_embeddings"):
        return model
    return CausalModel(untied(own_modules(model)))


def untied(network: nn.Module) -> nn.Module:
    """``network``, whose output layer has weights of its own from now on: moving it leaves the embedding as it is."""
    head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
    if head is not None and head.weight is embedding.weight:
        free = head.weight.requires_grad
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=free)
        network.config.tie_word_embeddings = False
    return network


def answered(
    model: CausalModel,
    codec: Codec,
    prompts: Tensor,
    most: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """What a model says to each prompt, greedily, many at a time; a bar shows where that takes longer than two seconds.

    Args:
        prompts: (n, P), padded on the left.
        most: tokens of an answer at most.
        progress: called with (answered, in all) instead of the bar.
    """
    said: list[str] = []
    order = (prompts != PAD).sum(1).argsort()  # those of one length together
    with tqdm(
        total=len(prompts), desc="answering", unit="question", delay=2, leave=False, disable=bool(progress)
    ) as bar:
        for few in order.split(TOGETHER) if len(order) else ():
            length = int((prompts[few] != PAD).sum(1).max())
            rows = prompts[few][:, prompts.shape[1] - length :].to(device_of(model))
            said += [codec.said(row) for row in model.continued(rows, codec.end, most).tolist()]
            bar.update(len(few))
            if progress:
                progress(len(said), len(prompts))
    back = order.argsort().tolist()
    return [said[at] for at in back]
