"""The reference of the command line, made from the parser that reads it."""

from __future__ import annotations

import argparse

from docs.extensions.markdown import code, join, paragraphs, prose, table
from server.cli import _parser


def markdown(words: list[str]) -> str:
    """A section for each command."""
    return join(_command(name, brief, parser) for name, brief, parser in commands())


def commands() -> list[tuple[str, str, argparse.ArgumentParser]]:
    """Name, a line about it, and the parser of each command, in the order of ``--help``."""
    (found,) = (each for each in _parser()._actions if isinstance(each, argparse._SubParsersAction))
    return [(each.dest, each.help or "", found.choices[each.dest]) for each in found._choices_actions]


def shown(actions: list[argparse.Action]) -> list[argparse.Action]:
    """Those that ``--help`` shows."""
    return [
        each for each in actions if each.help is not argparse.SUPPRESS and not isinstance(each, argparse._HelpAction)
    ]


def _command(name: str, brief: str, parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    groups = [
        join([f"**{group.title[0].upper()}{group.title[1:]}**" if group.title else "", _table(actions)])
        for group in parser._action_groups
        if (actions := shown(group._group_actions))
    ]
    return join(
        [
            f"## {name}",
            paragraphs(parser.description or brief),
            f"```text\n{usage}\n```",
            *groups,
            prose(parser.epilog or ""),
        ]
    )


def _table(actions: list[argparse.Action]) -> str:
    return table(("argument", "what it is"), ([_spelt(each), prose(_help(each))] for each in actions))


def _spelt(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return code(value)
    return ", ".join(code(name) for name in action.option_strings) + (f" {code(value)}" if value else "")


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    return {"?": f"[{name}]", "+": f"{name} ...", "*": f"[{name} ...]"}.get(str(action.nargs), name)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")
