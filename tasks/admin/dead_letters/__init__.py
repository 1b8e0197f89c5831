"""The recovery desk's pages: a file for each, all of them doors over tasks.dead_letters."""

from tasks.admin.dead_letters import groups, letters, operations

__all__ = ["groups", "letters", "operations"]
