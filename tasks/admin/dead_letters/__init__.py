"""The recovery desk's pages: a file for each, all of them doors over tasks.dead_letters."""

from tasks.admin.dead_letters import decisions, groups, letters, operations, redirects

__all__ = ["decisions", "groups", "letters", "operations", "redirects"]
