"""Registries explain themselves: names, settings, valid values, replacement."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

import pytest

import imu_lab as imu
from imu_lab.core.knobs import check, knobs, name_of, plain
from imu_lab.core.messages import UnknownName, unknown
from imu_lab.core.quantities import meaning_of
from imu_lab.core.registry import Registry


@pytest.fixture
def registry() -> Registry:
    """A registry with one item that has knobs of every kind."""
    made = Registry("thing")

    @made.register("round-thing")
    @dataclass(frozen=True)
    class Round:
        size: float = imu.knob(0.5, help="How big.", valid="(0, 1]")
        count: int = imu.knob(3, help="How many.", valid="[1, inf)")
        colour: str = imu.knob("red", help="Which.", choices=("red", "blue"))
        limit: float | None = imu.knob(None, help="At most.", valid="(0, inf)", optional=True)

    return made


def test_an_unknown_name_says_what_was_given_what_is_near_and_what_exists(registry: Registry) -> None:
    with pytest.raises(UnknownName) as caught:
        registry["round_thing"]
    assert str(caught.value) == "unknown thing: 'round_thing'. Did you mean 'round-thing'? Known: round-thing."
    assert isinstance(caught.value, KeyError) and isinstance(caught.value, ValueError)


def test_no_hint_where_nothing_is_near() -> None:
    assert str(unknown("thing", "zzz", [])) == "unknown thing: 'zzz'. Known: none."


@pytest.mark.parametrize("name", ["estimators", "intensity_rules", "methods"])
def test_the_message_is_generated_from_the_registry(name: str) -> None:
    registered = getattr(imu, name)
    with pytest.raises(UnknownName) as caught:
        registered.create("no such")
    assert all(known in str(caught.value) for known in registered)


def test_a_registry_is_a_mapping_that_lists_itself(registry: Registry) -> None:
    assert list(registry) == ["round-thing"] and len(registry) == 1 and "round-thing" in registry
    assert repr(registry) == "<thing: round-thing>"
    assert registry["round-thing"].name == "round-thing"


def test_the_named_items_of_the_method_are_there() -> None:
    assert {"fisher-diagonal", "gradient-dot"} <= set(imu.estimators)
    assert {"sqrt-clipped", "uniform", "shuffled", "gradient-norm"} <= set(imu.intensity_rules)
    assert {"imu", "gradient-ascent", "retrain"} <= set(imu.methods)


def test_a_name_can_be_taken_out_again_and_lent(registry: Registry) -> None:
    known = registry["round-thing"]
    other, third = (dataclass(frozen=True)(type(name, (), {})) for name in ("Other", "Third"))
    with registry.temporarily("round-thing", other), registry.temporarily("second", third):
        assert registry["round-thing"] is other and list(registry) == ["round-thing", "second"]
    assert registry["round-thing"] is known and list(registry) == ["round-thing"]
    assert registry.unregister("round-thing") is known and not registry
    with pytest.raises(UnknownName, match="unknown thing: 'round-thing'. Known: none"):
        registry.unregister("round-thing")


def made(**members: object) -> type:
    """A class with these members, such as a user writes in a cell."""
    return type("Mine", (), {"__annotations__": {"top": float}, "top": 0.5, **members})


CALL = {"__call__": lambda self, influence: influence}


@pytest.mark.parametrize(("item", "expected"), [
    (made(**CALL), "Mine is no dataclass; write @dataclass.frozen=True. between the decorator and the class"),
    (dataclass(made(**CALL)), "Mine is not frozen; write @dataclass.frozen=True. above it"),
    (dataclass(frozen=True, eq=False)(made(**CALL)), "Mine is compared by identity; leave eq=False out"),
    (dataclass(frozen=True)(made()), r"Mine has no __call__; write def __call__\(self, influence\)"),
    (dataclass(frozen=True)(made(__call__=lambda self: 1)), r"__call__\(self\) does not take .*\(self, influence\)"),
    (dataclass(frozen=True)(made(__call__=lambda self, a, b: 1)), r"__call__\(self, a, b\) does not take"),
    (type("Sub", (dataclass(frozen=True)(made(**CALL)),), {"top": 1.0}), "Sub inherits from a dataclass without being"),
    (dataclass(frozen=True)(type("Mine", (), {"__annotations__": {"name": str}, "name": "x", **CALL})), "called 'name'"),
    (lambda influence: influence, "is no class; write a class whose fields are the settings"),
    (dataclass(frozen=True)(made(**CALL))(), "is no class"),
])  # fmt: skip
def test_what_cannot_be_registered_is_refused_with_what_to_write(item: object, expected: str) -> None:
    before = list(imu.intensity_rules)
    with pytest.raises(
        TypeError, match=r'@imu.intensity_rule\("mine"\) takes a frozen dataclass.*' + expected
    ) as caught:
        imu.intensity_rule("mine")(item)
    assert list(imu.intensity_rules) == before and "\n" not in str(caught.value)


@pytest.mark.parametrize("decorator", [imu.estimator, imu.intensity_rule, imu.method, imu.metric])
@pytest.mark.parametrize("name", [dataclass(frozen=True)(made(**CALL)), 3, None, ""])
def test_a_decorator_without_a_name_is_refused(decorator: object, name: object) -> None:
    with pytest.raises(TypeError, match=r'takes a name, got .*; write @imu.[a-z_]+\("my-name"\) above the class'):
        decorator(name)(dataclass(frozen=True)(made(__call__=lambda self, *given: None)))


@pytest.mark.parametrize(("group", "arguments"), [
    (imu.estimators, 4), (imu.intensity_rules, 1), (imu.methods, 3), (imu.metrics, 3),
], ids=lambda value: getattr(value, "kind", value))  # fmt: skip
def test_a_call_is_registered_only_if_it_takes_what_its_contract_hands_over(group: Registry, arguments: int) -> None:
    for count in range(6):
        call = eval(f"lambda self{''.join(f', a{number}' for number in range(count))}: None")
        item = dataclass(frozen=True)(made(__call__=call))
        if count == arguments:
            with group.temporarily("mine", item):
                assert group["mine"] is item and group.create("mine") == item()
        else:
            with pytest.raises(TypeError, match="does not take these arguments"):
                group.register("mine")(item)
    free = dataclass(frozen=True)(made(__call__=lambda self, *given, **more: None))
    with group.temporarily("mine", free):
        assert group.create("mine") == free()


@pytest.mark.parametrize(("declares", "words"), [
    ({"need_retain": True}, "Mine declares 'need_retain'; did you mean 'needs_retain'?"),
    ({"takes_weigths": False}, "did you mean 'takes_weights'?"),
    ({"scope": "everything"}, "declares the scope 'everything'; it is one of 'readout', 'all'"),
    ({"needs_retain": "yes"}, "declares needs_retain = 'yes'; write True or False"),
])  # fmt: skip
def test_a_slip_in_what_is_declared_is_not_passed_over(declares: dict, words: str) -> None:
    def call(self: object, task: object, model: object, request: object) -> None: ...

    with pytest.raises(TypeError, match=re.escape(words)):
        imu.method("mine")(dataclass(frozen=True)(made(__call__=call, **declares)))
    fine = {"scope": "all", "needs_retain": True, "retain_weight": 1.0, "SCOPES": 3}
    with imu.methods.temporarily("mine", dataclass(frozen=True)(made(__call__=call, **fine))):
        assert imu.methods.declared(imu.methods.create("mine"), "scope") == "all"


def test_an_instance_of_a_users_class_is_held_to_the_same_contract() -> None:
    with pytest.raises(TypeError, match="Mine is not frozen"):
        imu.intensity_rules.create(dataclass(made(**CALL))())
    for wrong in (3, made(**CALL)(), imu.intensity_rules["uniform"], lambda influence: influence):
        with pytest.raises(TypeError, match="expected the name of a registered intensity rule or an instance.*uniform"):
            imu.intensity_rules.create(wrong)
    item = dataclass(frozen=True)(made(**CALL))()
    assert imu.intensity_rules.create(item) is item


def test_a_setting_that_cannot_be_compared_or_is_missing_is_named() -> None:
    item = dataclass(frozen=True)(type("Mine", (), {"__annotations__": {"parts": tuple}, **CALL}))
    with imu.intensity_rules.temporarily("mine", item):
        with pytest.raises(TypeError, match="settings of rule mine are compared by value, and parts cannot be.*tuple"):
            imu.intensity_rules.create("mine", parts=[1, 2])
        with pytest.raises(TypeError, match="intensity rule 'mine' needs a value for 'parts'"):
            imu.intensity_rules.create("mine")
        assert imu.intensity_rules.create("mine", parts=(1, 2)).parts == (1, 2)


def test_what_is_not_declared_is_what_the_contract_says() -> None:
    quiet = dataclass(frozen=True)(made(__call__=lambda self, *given: None))
    assert imu.methods.declared(quiet(), "takes_weights") is True and imu.methods.declared(quiet, "scope") == "readout"
    assert imu.intensity_rules.declared(quiet(), "reads") == "influence"
    assert not imu.metrics.declared(quiet(), "needs_reference") and not imu.methods.declared(quiet(), "needs_retain")
    loud = dataclass(frozen=True)(made(scope="all", __call__=lambda self, *given: None))
    assert imu.estimators.declared(loud(), "scope") == "all"


def test_a_subclass_does_not_answer_to_the_name_of_its_parent() -> None:
    parent = imu.intensity_rules["sqrt-clipped"]
    assert name_of(parent()) == "sqrt-clipped"
    assert name_of(dataclass(frozen=True)(type("Mine", (parent,), {}))()) == "Mine"


@pytest.mark.parametrize(("about", "words"), [
    ({"valid": "0..1"}, r'valid is an interval such as "\(0, 1\]"'),
    ({"valid": "(0, 1"}, "valid is an interval"),
    ({"scale": "sqrt"}, "unknown scale of a knob: 'sqrt'. Known: linear, log"),
    ({"range": (1, 0)}, "from a lower to a higher number"),
    ({"range": (0, 1), "scale": "log"}, "above 0 on a log scale"),
    ({"range": (0, 1), "valid": "(0, 1]"}, r"range \(0, 1\) leaves the valid values \(0, 1\]"),
    ({"valid": "(1, 2]"}, r"needs default in \(1, 2\], got 0.5"),
    ({"choices": ("a", "b")}, "unknown value for `default` of a knob: 0.5. Known: a, b"),
])  # fmt: skip
def test_a_knob_that_contradicts_itself_is_refused_where_it_is_written(about: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        imu.knob(0.5, help="A number.", **about)


@pytest.mark.parametrize("valid", ["(0, 1]", "[0,1)", "(-inf, inf)", "[-1.5, 1e-3]", "( 0 , inf )"])
def test_intervals_are_written_as_in_books(valid: str) -> None:
    assert (
        imu.knob(0.0 if "[0" in valid or "-" in valid else 0.5, help="A number.", valid=valid).metadata["knob"].valid
        == valid
    )


@pytest.mark.parametrize("group", [imu.intensity_rules, imu.methods, imu.metrics], ids=lambda group: group.kind)
def test_provenance_can_be_given_back(group: Registry) -> None:
    for name, item in group.items():
        assert group.create(name, **plain(item())) == item(), name
    rule = imu.intensity_rules.create("shuffled", of=imu.intensity_rules.create("sqrt-clipped", top=0.2), seed=3)
    assert imu.intensity_rules.create("shuffled", **plain(rule)) == rule


def test_a_registry_is_a_table_in_a_notebook(registry: Registry) -> None:
    shown = imu.methods._repr_html_()
    assert all(f"<th>{name}</th>" in shown for name in imu.methods) and "step_norm" in shown
    assert "size, count, colour, limit" in registry._repr_html_()


def test_registering_again_replaces(registry: Registry) -> None:
    @registry.register("round-thing")
    @dataclass(frozen=True)
    class Other:
        pass

    assert registry.create("round-thing") == Other() and len(registry) == 1


def test_an_unknown_setting_names_the_near_one_and_all(registry: Registry) -> None:
    with pytest.raises(TypeError, match=r"no setting 'siz'. Did you mean 'size'\? It has: size, count, colour, limit"):
        registry.create("round-thing", siz=1.0)


@pytest.mark.parametrize("size", [0, -1, 1.001, float("nan"), float("inf"), "big", None])
def test_a_value_outside_its_interval_is_refused(registry: Registry, size: object) -> None:
    with pytest.raises(ValueError, match=r"round-thing needs (size in \(0, 1\]|a number for size), got .* How big."):
        registry.create("round-thing", size=size)


@pytest.mark.parametrize("size", [1, 1.0, 1e-9])
def test_the_ends_of_an_interval_are_inside_as_written(registry: Registry, size: float) -> None:
    assert registry.create("round-thing", size=size).size == size


@pytest.mark.parametrize("count", [2.5, 0, "two"])
def test_a_whole_number_is_asked_where_one_is_needed(registry: Registry, count: object) -> None:
    with pytest.raises(ValueError, match="count"):
        registry.create("round-thing", count=count)


def test_none_is_allowed_only_where_optional(registry: Registry) -> None:
    assert registry.create("round-thing", limit=None).limit is None
    with pytest.raises(ValueError, match="limit"):
        registry.create("round-thing", limit=0)


def test_a_choice_that_is_none_is_refused_with_all_choices(registry: Registry) -> None:
    with pytest.raises(
        UnknownName, match="unknown value for `colour` of thing round-thing: 'blu'. Did you mean 'blue'.* red, blue"
    ):
        registry.create("round-thing", colour="blu")


def test_an_instance_is_passed_through_and_checked(registry: Registry) -> None:
    item = registry["round-thing"]
    instance = item(size=0.25)
    assert registry.create(instance) is instance
    with pytest.raises(ValueError, match="size"):
        registry.create(item(size=7))
    with pytest.raises(TypeError, match="already has its settings; got 'size' beside it"):
        registry.create(instance, size=0.1)


def test_shuffled_offers_the_rules_that_exist_now_but_not_itself() -> None:
    options = knobs(imu.intensity_rules["shuffled"])["of"].options()
    assert set(options) == set(imu.intensity_rules) - {"shuffled"}


@pytest.mark.parametrize("group", [imu.estimators, imu.intensity_rules, imu.methods], ids=lambda group: group.kind)
def test_every_registered_item_has_valid_defaults_and_sliders_inside_them(group: Registry) -> None:
    for name in group:
        made = check(group[name]())
        assert made == group[name]() and hash(made) == hash(group[name]())
        for field, about in knobs(made).items():
            assert about.help.endswith("."), f"{name}.{field}"
            for end in about.range or ():
                about.check(name, field, type(getattr(made, field))(end) if about.range and not about.optional else end)


def test_every_registered_item_says_its_formula_or_what_it_controls() -> None:
    for group in (imu.estimators, imu.intensity_rules, imu.methods):
        assert all(item.__doc__ and not item.__doc__.startswith(item.__name__ + "(") for item in group.values())


@pytest.mark.parametrize("group", [imu.estimators, imu.intensity_rules, imu.methods], ids=lambda group: group.kind)
def test_help_of_a_registered_class_says_what_each_setting_means_and_may_be(group: Registry) -> None:
    for name, kind in group.items():
        for field, about in knobs(kind).items():
            line = next(line for line in inspect.getdoc(kind).splitlines() if line.startswith(f"    {field} ("))
            assert about.help in line and about.valid in line, (name, field)
            for choice in about.choices if isinstance(about.choices, tuple) else ():
                assert repr(choice) in line, (name, field)
        Registry("thing").register(name)(kind)
        assert inspect.getdoc(kind).count("Settings:") == bool(knobs(kind)), "nothing is said twice"
        assert "Settings" not in meaning_of(kind)


def test_rho_and_curvature_mean_the_same_wherever_they_stand() -> None:
    damped = [kind for group in (imu.estimators, imu.methods) for kind in group.values() if "rho" in knobs(kind)]
    for setting in ("rho", "curvature"):
        having = [knobs(kind)[setting] for kind in damped if setting in knobs(kind)]
        assert len(having) >= 3 and len({about.help for about in having}) == 1, having


def test_a_message_names_a_hundred_and_counts_the_others() -> None:
    words = str(unknown("thing", "zzz", [f"n{number}" for number in range(103)]))
    assert words.endswith("n98, n99 and 3 more.")
