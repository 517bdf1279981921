"""Options that were given, and refusing those that would do nothing."""

from __future__ import annotations

import click
from click.core import ParameterSource


def refuse_given(why: str, *names: str) -> None:
    """Refuse an option of the running command that was typed, whatever its value.

    Args:
        why: Why it does nothing here, for the message.
        *names: The parameters that are refused, as the command's function has them.

    Raises:
        click.UsageError: One was typed; the message names the first such option and ends with ``why``.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") not in (None, ParameterSource.DEFAULT)
        if parameter.name in names and given:
            raise click.UsageError(f"{parameter.opts[0]} does nothing here, leave it out: {why}")
