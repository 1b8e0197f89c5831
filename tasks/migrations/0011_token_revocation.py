from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0010_webhooks")]

    operations = [
        migrations.AddField(
            "apitoken",
            "revoked_at",
            models.DateTimeField(
                blank=True, help_text="Its row stays: whoever had its name next would own its jobs.", null=True
            ),
        ),
    ]
