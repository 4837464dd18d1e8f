"""The models the sandbox offers, what they cost, and the list of them as ``GET /v3/models`` gives it.

The names look like the gateway's, the prices are made up. Prices are USD per million tokens, in tiers as
the API gives them: entry k applies above ``thresholds[k - 1]`` tokens. Query parameters: the official SDKs'.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opper_batch.sandbox.refusals import Refusal

DEFAULT_MODEL = "openai/gpt-4o-mini"
_UNLISTED: dict[str, Any] = {"input": [1.0], "output": [4.0]}
_PAGE = 50
_LARGEST_PAGE = 500

# name, maker, input, output, context window, capabilities
_CHAT: tuple[tuple[str, str, list[float], list[float], int, tuple[str, ...]], ...] = (
    ("gpt-4o-mini", "openai", [0.15], [0.6], 128_000, ("tools", "structured_output", "vision")),
    ("gpt-4o", "openai", [2.5], [10.0], 128_000, ("tools", "structured_output", "vision")),
    ("gpt-5.4-mini", "openai", [0.25], [2.0], 400_000, ("tools", "structured_output", "vision", "reasoning")),
    ("gpt-5.4", "openai", [1.25], [10.0], 400_000, ("tools", "structured_output", "vision", "reasoning")),
    ("claude-haiku-4.5", "anthropic", [1.0], [5.0], 200_000, ("tools", "structured_output", "vision")),
    ("claude-sonnet-4.6", "anthropic", [3.0, 6.0], [15.0, 22.5], 1_000_000, ("tools", "vision", "pdf")),
    ("claude-opus-4.6", "anthropic", [5.0], [25.0], 200_000, ("tools", "vision", "pdf", "reasoning")),
    ("gemini-2.5-flash", "gcp", [0.3], [2.5], 1_000_000, ("tools", "structured_output", "vision", "pdf")),
    ("gemini-2.5-pro", "gcp", [1.25, 2.5], [10.0, 15.0], 1_000_000, ("tools", "vision", "pdf", "reasoning")),
    ("mistral-large", "mistral", [2.0], [6.0], 128_000, ("tools", "structured_output")),
    ("llama-3.3-70b", "groq", [0.59], [0.79], 128_000, ("tools",)),
    ("qwen3-32b", "groq", [0.29], [0.59], 131_072, ("tools", "reasoning")),
)
# The same models are offered by their maker and by several hosts, each under a name of its own.
_HOSTS = {"azure": "US", "aws": "EU", "evroc": "SE", "berget": "SE"}
_TIER = 200_000


def cost_of(model: str, input_tokens: int, output_tokens: int) -> float:
    """What a call costs in USD by the model's price in the list; an unlisted model has a default price."""
    listed = _BY_NAME.get(model)
    price = listed["pricing"] if listed else _UNLISTED
    thresholds = price.get("thresholds", [])
    paid = input_tokens * _tier(price["input"], thresholds, input_tokens)
    paid += output_tokens * _tier(price["output"], thresholds, output_tokens)
    return round(paid / 1e6, 12)


def listing(query: Mapping[str, str], capabilities: Sequence[str] = ()) -> dict[str, Any]:
    """A page of the models, as ModelsResponse; raises Refusal (400) for a query that makes no sense."""
    wanted = {name for given in capabilities for name in given.split(",") if name}
    found = [model for model in _MODELS if _fits(model, query, wanted)]
    if "sort" in query or "order" in query:
        key = _choice(query, "sort", ("id", "type", "provider"))
        found.sort(
            key=lambda model: str(model[key]), reverse=_choice(query, "order", ("asc", "desc")) == "desc"
        )
    limit = whole_number(query, "limit", _PAGE, lowest=1, highest=_LARGEST_PAGE)
    offset = whole_number(query, "offset", 0, lowest=0)
    return {"models": found[offset : offset + limit], "total": len(found), "offset": offset, "limit": limit}


def whole_number(
    query: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int = 10**9
) -> int:
    """The query's number between two bounds; raises Refusal (400) for anything else."""
    text = query.get(name, str(default))
    if text.isdecimal() and lowest <= int(text[:12]) <= highest:
        return int(text)
    raise Refusal(400, "invalid_input", f"{name} must be a whole number from {lowest} to {highest}")


def _fits(model: Mapping[str, Any], query: Mapping[str, str], capabilities: set[str]) -> bool:
    tests: dict[str, Callable[[str], bool]] = {
        "type": lambda text: model["type"] == text,
        "provider": lambda text: model["provider"] == text,
        "q": lambda text: text.casefold() in f"{model['id']} {model['name']}".casefold(),
        "deprecated": lambda text: ("retired_at" in model) == (text.casefold() == "true"),
    }
    return capabilities <= set(model["capabilities"]) and all(
        test(query[name]) for name, test in tests.items() if name in query
    )


def _choice(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    given = query.get(name, choices[0])
    if given in choices:
        return given
    raise Refusal(400, "invalid_input", f"{name} must be one of {', '.join(choices)}")


def _tier(prices: Sequence[float], thresholds: Sequence[int], tokens: int) -> float:
    return prices[min(bisect_right(thresholds, tokens - 1), len(prices) - 1)]


def _model(provider: str, name: str, kind: str, pricing: dict[str, Any], **more: Any) -> dict[str, Any]:
    model = {
        "id": f"{provider}/{name}",
        "type": kind,
        "provider": provider,
        "provider_display_name": provider.title(),
        "name": name.replace("-", " ").title(),
        "model_id": name,
        "capabilities": [],
        "speed": "medium",
        "cost": pricing["input"][0],
        "quality": "medium",
        "context_window": 8192,
        "description": f"{name} as the sandbox plays it: its answers are synthetic, its price is made up.",
        "pricing": pricing,
    }
    return model | more


def _chat_models() -> list[dict[str, Any]]:
    models = []
    for name, maker, input_price, output_price, window, capabilities in _CHAT:
        pricing: dict[str, Any] = {"input": input_price, "output": output_price}
        if len(input_price) > 1:
            pricing["thresholds"] = [_TIER]
        more = {"capabilities": list(capabilities), "context_window": window}
        dashed = name.replace(".", "-")
        aliases = [f"{maker}/{dashed}"] if dashed != name else []
        models.append(_model(maker, name, "llm", pricing, aliases=aliases, **more))
        models += [
            _model(host, name, "llm", pricing, country=country, **more) for host, country in _HOSTS.items()
        ]
    return models


def _other_models() -> list[dict[str, Any]]:
    embedding = {"dimensions": 1536, "max_input_tokens": 8191, "supports_dimensions": True}
    params = {"default_max_tokens": 8191, "embedding": embedding}
    return [
        _model(
            "openai",
            "gpt-3.5-turbo",
            "llm",
            {"input": [0.5], "output": [1.5]},
            retired_at="2026-01-31T00:00:00Z",
            successor=DEFAULT_MODEL,
        ),
        _model(
            "openai", "text-embedding-3-small", "embedding", {"input": [0.02], "output": [0.0]}, params=params
        ),
        _model("openai", "sora-2", "video", {"input": [0.0], "output": [0.0], "price_per_second": 0.1}),
    ]


_MODELS = _chat_models() + _other_models()
_BY_NAME = {name: model for model in _MODELS for name in (model["id"], *model.get("aliases", ()))}
