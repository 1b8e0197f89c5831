"""Arguments that several actions take."""

from argparse import ArgumentParser

from tasks.management.arguments import id_of


def add_confirmation(parser: ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def add_target(parser: ArgumentParser) -> None:
    """Where a letter is replayed."""
    parser.add_argument("--task", default="", help="as this task")
    parser.add_argument("--queue", default="", help="on this queue")


letter_id = id_of("a dead letter", "dead_letters list")
edit_id = id_of("an edit", "dead_letters edits")
group_id = id_of("a failure group", "dead_letters groups")
operation_id = id_of("an operation", "dead_letters operation list")
