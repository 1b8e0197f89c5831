"""Idempotency keys that came over HTTP are their owners' from now on; the others stay their tasks'."""

from django.db import migrations, models
from django.db.models import Exists, F, OuterRef

TOKENS = "token:"


def give(apps, schema_editor):
    """What tokens have sent keeps its key, so that who sends it again after the deploy gets the same job. Where a token
    gave two tasks the same key, which was right until now, the latest keeps it."""
    for model in (apps.get_model("tasks", "Job"), apps.get_model("tasks", "Batch")):
        of_tokens = model.objects.filter(idempotency_key__isnull=False, requested_by__startswith=TOKENS)
        newer = of_tokens.filter(
            idempotency_key=OuterRef("idempotency_key"), requested_by=OuterRef("requested_by"), pk__gt=OuterRef("pk")
        )
        of_tokens.filter(~Exists(newer)).update(idempotency_owner=F("requested_by"))


def take_back(apps, schema_editor):
    """The older build has one key a task: the first of each stays."""
    for model, scope in ((apps.get_model("tasks", "Job"), ["task"]), (apps.get_model("tasks", "Batch"), [])):
        keyed = model.objects.filter(idempotency_key__isnull=False)
        older = keyed.filter(
            idempotency_key=OuterRef("idempotency_key"), pk__lt=OuterRef("pk"), **{name: OuterRef(name) for name in scope}
        )
        keyed.filter(Exists(older)).update(idempotency_key=None)
        keyed.update(idempotency_owner="")


class Migration(migrations.Migration):

    dependencies = [
        ('tasks', '0007_owners'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='job',
            name='job_idempotency',
        ),
        migrations.AddField(
            model_name='batch',
            name='idempotency_owner',
            field=models.CharField(blank=True, db_default='', default='', editable=False, help_text="Whose key it is, if anyone's.", max_length=200),
        ),
        migrations.AddField(
            model_name='job',
            name='idempotency_digest',
            field=models.CharField(blank=True, db_default='', default='', editable=False, help_text="Of the owner's request.", max_length=64),
        ),
        migrations.AddField(
            model_name='job',
            name='idempotency_owner',
            field=models.CharField(blank=True, db_default='', default='', editable=False, help_text='Who has the key for their own, whatever the task; empty where the task has it, whoever asks.', max_length=200),
        ),
        migrations.AlterField(
            model_name='batch',
            name='idempotency_key',
            field=models.CharField(blank=True, max_length=200, null=True),
        ),
        migrations.RunPython(give, take_back),
        migrations.AddConstraint(
            model_name='batch',
            constraint=models.UniqueConstraint(fields=('idempotency_key', 'idempotency_owner'), name='batch_idempotency'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False), ('idempotency_owner', '')), fields=('task', 'idempotency_key'), name='job_idempotency'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False), models.Q(('idempotency_owner', ''), _negated=True)), fields=('idempotency_key', 'idempotency_owner'), name='job_idempotency_of_owner'),
        ),
    ]
