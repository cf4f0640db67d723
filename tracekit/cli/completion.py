"""``tracekit completion``: the script that completes commands and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tracekit.errors import UsageError

__all__ = ["command"]

_WHERE = """\b
  bash   tracekit completion bash > ~/.local/share/bash-completion/completions/tracekit
  zsh    tracekit completion zsh  > "${fpath[1]}/_tracekit"
  fish   tracekit completion fish > ~/.config/fish/completions/tracekit.fish"""


@click.command("completion", epilog=_WHERE)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    completion = get_completion_class(shell)
    if completion is None:
        raise UsageError(f"no completion for {shell}")
    root = ctx.find_root().command
    click.echo(completion(root, {}, "tracekit", "_TRACEKIT_COMPLETE").source())
