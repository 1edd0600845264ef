"""Every public name of the reference has an example, and each speaks of names that exist."""

from __future__ import annotations

import ast

import examples

import imu_lab as imu


def test_every_public_name_has_an_example() -> None:
    for name, shown in examples.examples().items():
        assert shown, f"write one for imu.{name}: in its docstring, behind >>>"
        last = name.split(".")[-1]
        made = {"Run": "unlearn", "tasks.Task": "check_task", "Evaluations": "load_open_unlearning"}.get(name, last)
        plain = [text.replace("_", "").casefold() for text in (made, shown)]
        assert plain[0] in plain[1], f"the example of imu.{name} does not use it"


def test_examples_are_code_and_name_what_exists() -> None:
    for name, shown in examples.examples().items():
        tree = (
            ast.parse(shown)
            if "yield" not in shown
            else ast.parse("def f():\n" + "\n".join(f"    {line}" for line in shown.splitlines()))
        )
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "imu":
                assert hasattr(imu, node.attr), f"the example of {name} speaks of imu.{node.attr}"


def test_nothing_is_written_twice() -> None:
    gone = set(examples.WRITTEN) - set(examples.public())
    assert not gone, "examples of names that are public no more"
