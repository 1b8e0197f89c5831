"""What `manage.py dead_letters` can do: a file for each action, all of them doors over tasks.dead_letters."""
