"""docs/rules.md says what the code does."""

import re
from pathlib import Path

from crewmem_consumers.rulefile import RESERVED, KeepWith, RuleText
from crewmem_consumers.rules import RuleSet, default_rules
from crewmem_consumers.variables import FUNCTIONS, VARIABLES

PAGE = Path(__file__).parents[2].joinpath("docs", "rules.md").read_text("utf-8")


def test_the_example_is_a_rule_file() -> None:
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    assert [rule.name for rule in RuleSet.parse(example).rules] == ["staging", "prices", "customers"]


def test_every_field_variable_function_and_name_is_there() -> None:
    told = set(re.findall(r"`(\w+)", PAGE))
    fields = {field.alias or name for name, field in RuleText.model_fields.items()} | set(KeepWith.model_fields)
    assert fields | set(VARIABLES) | set(FUNCTIONS) | RESERVED <= told


def test_every_default_rule_is_there_in_order() -> None:
    names = re.findall(r"^\| `([a-z-]+)` \|", PAGE.split("## The default file")[1], re.MULTILINE)
    assert names == [rule.name for rule in default_rules().rules]
