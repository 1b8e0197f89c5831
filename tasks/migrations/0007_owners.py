"""Tokens see their own jobs from now on, unless they may see all: those that there are keep what they could see."""

from django.db import migrations, models

READ, READ_ALL = "jobs:read", "jobs:read_all"


def grant(apps, schema_editor):
    for token in apps.get_model("tasks", "ApiToken").objects.all():
        if READ in token.scopes and READ_ALL not in token.scopes:
            token.scopes = sorted([*token.scopes, READ_ALL])
            token.save(update_fields=["scopes"])


def revoke(apps, schema_editor):
    for token in apps.get_model("tasks", "ApiToken").objects.all():
        if READ_ALL in token.scopes:  # the older build's pages know no such scope
            token.scopes = [scope for scope in token.scopes if scope != READ_ALL]
            token.save(update_fields=["scopes"])


class Migration(migrations.Migration):

    dependencies = [
        ('tasks', '0006_paused_queue'),
    ]

    operations = [
        migrations.RunPython(grant, revoke),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('requested_by', ''), _negated=True), fields=['requested_by', '-id'], name='batch_owner'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('requested_by', ''), _negated=True), fields=['requested_by', '-id'], name='job_owner'),
        ),
    ]
