import pytest
from crewmem_consumers.claims import claims, held_by


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("It costs $1,500 a month", "$1500 monthly is what it costs"),
        ("49.00 euros", "49 euros"),
        ("4,5 stars", "4.5 stars"),
        ("two engineers", "2 engineers"),
        ("There is no documentation", "It does not have documentation"),
        ("We didn’t reach them", "We did not reach them"),
    ],
)
def test_what_says_the_same_has_equal_claims(left: str, right: str) -> None:
    assert claims(left) == claims(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("$49 a month", "$59 a month"),
        ("$49 a month", "$49 a year"),
        ("planned for March", "planned for April"),
        ("needs two engineers", "needs three engineers"),
        ("has no documentation", "has documentation"),
        ("49 and 49", "49"),
        ("on Monday", "on Tuesday"),
    ],
)
def test_another_figure_date_period_or_negation_is_another_claim(left: str, right: str) -> None:
    assert claims(left) != claims(right)


def test_part_of_what_was_said_is_held_by_it_unless_it_is_negated() -> None:
    whole = claims("Acme charges $49 a month for 3 seats")
    assert held_by(claims("Acme charges $49 a month"), whole)
    assert not held_by(claims("Acme charges $59 a month"), whole)
    assert not held_by(claims("Acme never charges $49 a month"), whole)


def test_a_letter_that_only_looks_like_one_of_a_number_is_no_number_and_no_fault() -> None:
    assert claims("\u017fix seats") == claims("seats")
    assert claims("SIX seats") == claims("6 seats")
