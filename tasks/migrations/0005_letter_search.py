"""What PostgreSQL searches dead letters by. SQLite has neither index and reads its rows."""

from django.db import migrations

# Words as the search splits a query into them: ASCII punctuation parts words, so that "smtplib.SMTPException" has two,
# and a change of case parts those of a type, so that "timeout" finds ReadTimeout. No extension is needed.
# COST keeps the planner from reading all letters for a word that none has: it guesses that half a percent do. A function
# in SQL would be dissolved in the query, and its COST with it.
WORDS = r"""
CREATE OR REPLACE FUNCTION tasks_letter_words(task text, error_type text, error text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 2000 AS $$
BEGIN
    RETURN pg_catalog.to_tsvector('pg_catalog.simple', pg_catalog.regexp_replace(
        pg_catalog.concat_ws(' ', task, error_type,
            pg_catalog.regexp_replace(error_type, '([a-z0-9])([A-Z])', '\1 \2', 'g'), pg_catalog.left(error, 10000)),
        '[!-/:-@[-`{-~]+', ' ', 'g'));
END $$
"""
INDEXES = {
    "dead_letter_words": "gin (tasks_letter_words(task, error_type, error)) WITH (fastupdate = off)",
    # A worker that buries must never be the one to work off a list of postponed entries.
    "dead_letter_payload": "gin (payload jsonb_path_ops) WITH (fastupdate = off)",
}


def create(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    schema_editor.execute(WORDS, params=None)
    for name, definition in INDEXES.items():
        # One that an interrupted run left behind is invalid, and IF NOT EXISTS would keep it.
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", params=None)
        schema_editor.execute(f"CREATE INDEX CONCURRENTLY {name} ON tasks_deadletter USING {definition}", params=None)


def drop(apps, schema_editor):
    if schema_editor.connection.vendor != "postgresql":
        return
    for name in INDEXES:
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", params=None)
    schema_editor.execute("DROP FUNCTION IF EXISTS tasks_letter_words(text, text, text)", params=None)


class Migration(migrations.Migration):

    atomic = False  # CONCURRENTLY: workers go on burying meanwhile

    dependencies = [
        ('tasks', '0004_recovery_desk'),
    ]

    operations = [migrations.RunPython(create, drop)]
