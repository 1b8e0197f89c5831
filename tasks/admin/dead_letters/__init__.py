"""The recovery desk's pages: a file for each, all of them doors over tasks.dead_letters."""

from tasks.admin.dead_letters import letters, operations

__all__ = ["letters", "operations"]
