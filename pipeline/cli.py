"""The ``specdrive`` command: sub-commands are imported when used, so that it starts at once."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from verifier.errors import InputError

COMMANDS = {
    "audit": "pipeline.commands.audit",
    "certificate": "pipeline.commands.certificate",
    "convert": "pipeline.commands.convert",
    "evaluate": "pipeline.commands.evaluate",
    "film": "pipeline.commands.film",
    "generate": "pipeline.commands.generate",
    "perception": "pipeline.commands.perception",
    "quantize": "pipeline.commands.quantize",
    "rules": "pipeline.commands.rules",
    "run": "pipeline.commands.run",
    "runs": "pipeline.commands.runs",
    "show": "pipeline.commands.show",
    "simulate": "pipeline.commands.simulate",
    "stage": "pipeline.commands.stage",
    "tasks": "pipeline.commands.tasks",
    "verify": "pipeline.commands.verify",
    "worlds": "pipeline.commands.worlds",
}


class _LazyGroup(click.Group):
    """A group whose members live in the modules of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the sub-commands."""
        del ctx
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a sub-command."""
        del ctx
        module = COMMANDS.get(cmd_name)
        return importlib.import_module(module).command if module else None


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="specdrive")
def cli() -> None:
    """Driving controllers written by a language model, proved by a model checker.

    Exit codes: 0 done (and, for verify, nothing violated or unknown); 1 something violated or
    unknown; 2 bad input.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; bad input is one line on stderr."""
    try:
        return cli(list(arguments) if arguments is not None else None, standalone_mode=False) or 0
    except InputError as error:
        _complain(str(error))
        return 2
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        hint = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else None
        _complain(error.format_message() + (f" (see {hint} --help)" if hint else ""))
        return 2
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`): leave quietly, also when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _complain(message: str) -> None:
    click.echo(f"specdrive: {' '.join(message.split())}", err=True)


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
