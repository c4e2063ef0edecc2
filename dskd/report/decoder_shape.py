"""A decoder's shape, and the parameters, floating point operations and sizes that follow from it.

Decoders of Llama's kind: a gated feed-forward part, grouped queries, no biases. Matrix products and attention are
counted, an addition and a multiplication as two operations.
"""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dskd.errors import UserError, one_line
from dskd.params import Count

# Types of decoders of this kind, by which config.json names them, and those whose head is the embedding where it does
# not say (transformers' configurations).
_KINDS = {"llama", "mistral", "ministral", "qwen2", "qwen3", "phi3", "olmo", "olmo2", "olmo3"}
_TIED = {"gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2", "smollm3"}


class Shape(BaseModel):
    """A decoder's shape, under the names that its config.json has."""

    model_config = ConfigDict(strict=True, frozen=True)

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    vocab_size: Count
    tie_word_embeddings: bool | None = None
    model_type: str = "llama"

    @property
    def query(self) -> int:
        """Width of all queries."""
        return self.num_attention_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def key(self) -> int:
        """Width of all keys; that of the values is the same."""
        return self.query * (self.num_key_value_heads or self.num_attention_heads) // self.num_attention_heads

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding. Where config.json is silent, each family has its default."""
        given = self.tie_word_embeddings
        return self.model_type in _TIED if given is None else given


# The fields of `Shape` in their order, from the config.json that each is published with on the Hugging Face hub.
_PUBLISHED = {
    "SmolLM2-135M": (576, 1536, 30, 9, 3, 64, 49152, True, "llama"),  # HuggingFaceTB/SmolLM2-135M-Instruct
    "Llama-3-8B-Instruct": (4096, 14336, 32, 32, 8, 128, 128256, False, "llama"),  # meta-llama/Meta-Llama-3-8B-…
    "Mistral-7B-Instruct-v0.1": (4096, 14336, 32, 32, 8, 128, 32000, False, "mistral"),  # mistralai/…
    "Gemma-3-270M": (640, 2048, 18, 4, 1, 256, 262144, True, "gemma3_text"),  # google/gemma-3-270m
}
KNOWN = {name: Shape(**dict(zip(Shape.model_fields, values))) for name, values in _PUBLISHED.items()}


def read_shape(model: str) -> Shape:
    """The shape of a known model, or of a folder with a config.json.

    Raises:
        UserError: neither, or the configuration is none of a dense decoder of Llama's kind.
    """
    if model in KNOWN:
        return KNOWN[model]
    path = Path(model) / "config.json"
    if not path.is_file():
        known = ", ".join(KNOWN)
        raise UserError(f"--model {model}: no folder with a config.json, and no known model; there are: {known}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = config.get("text_config", config)  # of a model that also sees
        if any("experts" in key for key in config):
            raise ValueError("a mixture of experts, which is not planned for")
        shape = Shape.model_validate(config)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError(f"{path} is no configuration of a decoder: {faults}") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no configuration of a decoder: {one_line(error)[:300]}") from None
    if shape.model_type not in _KINDS | _TIED:
        raise UserError(
            f"{path} is of the type {shape.model_type!r}, whose costs are not known here: there are those of "
            f"{', '.join(sorted(_KINDS | _TIED))}"
        )
    return shape


def layer_matrices(shape: Shape) -> int:
    """Parameters of a layer's matrices: queries, keys, values, output, and the three of the gated feed-forward part."""
    attention = shape.hidden_size * (2 * shape.query + 2 * shape.key)
    return attention + 3 * shape.hidden_size * shape.intermediate_size


def parameters(shape: Shape, layers: int) -> int:
    """Parameters of a decoder of so many layers, embedding, head and norms counted; biases are not.

    A layer has two norms, Gemma 3's four, and one for queries and keys each (transformers' modelling files).
    """
    norms = 2 * shape.hidden_size
    if shape.model_type.startswith("gemma3"):
        norms = 4 * shape.hidden_size + 2 * shape.query // shape.num_attention_heads
    embeddings = (1 if shape.tied else 2) * shape.vocab_size * shape.hidden_size
    return embeddings + layers * (layer_matrices(shape) + norms) + shape.hidden_size


def forward_flops(shape: Shape, layers: int, tokens: int, length: int) -> int:
    """Of so many layers over blocks of `length` tokens, without the head.

    Two for each parameter of a matrix and token (Kaplan et al. 2020, section 2.1); attention has two products of
    `query` numbers with each position, of which a causal mask leaves half: 2 * length * query a token and layer.
    """
    return layers * tokens * (2 * layer_matrices(shape) + 2 * length * shape.query)


def head_flops(shape: Shape, tokens: int) -> int:
    """Of one product with the head: the logits of so many positions, or their gradient."""
    return 2 * shape.hidden_size * shape.vocab_size * tokens


def training_flops(shape: Shape, layers: int, tokens: int, length: int, kl: bool) -> int:
    """Of training the top `layers` on kept states: their forward pass and twice that for the backward pass (Kaplan et
    al. 2020); the student's logits, their gradient, and with a KL term the teacher's logits (students.output_loss)."""
    return 3 * forward_flops(shape, layers, tokens, length) + (3 if kl else 2) * head_flops(shape, tokens)


def stored_numbers(shape: Shape) -> int:
    """Numbers a token that a layer keeps for its backward pass: inputs and results of two norms (6 d with the residual
    stream), queries, keys, values and attention's result, and four of the feed-forward part."""
    return 6 * shape.hidden_size + 2 * shape.query + 2 * shape.key + 4 * shape.intermediate_size


def count_up_to(shape: Shape, tokens: int, most: int) -> int:
    """States of a text if each token type has at most `most`, as far as English text tells.

    A type of share p has min(most, p N) of N, so the sum over types is most F(N / most) for one function F. F(x) =
    x / (1.06 + .0152 x^.484), never above the vocabulary, is fitted to random parts of the text of the committed run's
    dictionary, 8 thousand to 1 million tokens, with 5 to 2000 a type: within 11 %, for 1 million with 5 a type 16 %.
    Beyond that it is an extrapolation. Predicted tokens are of fewer types.
    """
    x = tokens / most
    return round(min(tokens, most * min(shape.vocab_size, x / (1.06 + 0.0152 * x**0.484))))


def state_bytes(shape: Shape, kept: int) -> int:
    """Of a token's states on disk: two vectors of `kept` bytes a number, and the predicted token (states.py)."""
    return 2 * shape.hidden_size * kept + 4
