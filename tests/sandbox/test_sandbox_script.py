from __future__ import annotations

import re

import pytest

from opper_batch.errors import DefinitionError
from opper_batch.sandbox import Script


def test_a_script_is_read_from_texts_of_every_kind() -> None:
    settings = {
        "latency": "0.05",
        "rpm": "600",
        "burst": "3",
        "retry_after_form": "mixed",
        "omit": "cost+usage",
        "forbidden_models": "openai/gpt-4o, groq/qwen3-32b",
        "seed": "-7",
    }
    assert Script.from_settings(settings) == Script(
        latency=0.05,
        rpm=600.0,
        burst=3,
        retry_after_form="mixed",
        omit=("cost", "usage"),
        forbidden_models=("openai/gpt-4o", "groq/qwen3-32b"),
        seed=-7,
    )


def test_a_script_is_read_from_one_line() -> None:
    assert Script.parse(" latency=0.05, throttled=0.1,omit=meta ,") == Script(
        latency=0.05, throttled=0.1, omit=("meta",)
    )
    assert Script.parse("") == Script()
    assert Script.parse("rpm=") == Script(rpm=None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("latncy=1", "no setting 'latncy'; did you mean 'latency'?"),
        ("zzzzzz=1", "it has latency, latency_sigma"),
        ("latency", "has no value: write latency=…"),
        ("latency=fast", "latency cannot be 'fast': give a number"),
        ("burst=1.5", "burst cannot be '1.5': give a number"),
        ("throttled=1.01", "throttled is 1.01: give a number from 0 to 1"),
        ("throttled=nan", "throttled is nan"),
        ("failed=-0.1", "failed is -0.1"),
        ("latency=inf", "latency is inf: give a number of at least 0"),
        ("rpm=0", "rpm is 0.0"),
        ("operations=0", "operations is 0"),
        ("budget=-1", "budget is -1.0"),
        ("window=sliding", "window cannot be 'sliding': give one of rolling, fixed"),
        ("omit=price", "omit cannot be 'price': give one of meta, cost"),
        ("reject_key=all", "reject_key cannot be 'all': give one of none, string, object"),
        ("failed=0.6,dropped=0.6", "add up to more than 1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_a_sentence(line: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        Script.parse(line)
