"""The verbs as one command, which suggests the verb that was meant."""

import click

from alexnet.errors import UserError


class Verbs(click.Group):
    """A group that suggests the verb that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with our wording for an unknown verb."""
        from alexnet.suggest import unknown

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UserError(unknown("verb", args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="alexnet")
def verbs() -> None:
    """The AlexNet of 2012: train it, measure it, use it, look inside.

    Start with `alexnet train` (embedded digits) or `alexnet train FOLDER` (your images).
    Every verb takes --json (one document on stdout) and --debug (show the traceback).
    """
