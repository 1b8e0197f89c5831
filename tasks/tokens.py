"""What people do to API tokens that exist. Admin and command are doors over it."""

from django.db import transaction
from django.utils import timezone

from tasks.errors import IllegalTransition
from tasks.models import ApiToken, WebhookEndpoint


def revoke(name: str) -> ApiToken:
    """The token, which opens nothing from now on (HTTP servers may believe it for five seconds more), and for good.

    Its webhook endpoints are disabled: who holds them has lost the right to hear. Its name is never given again, since
    jobs, batches and files belong to it. Raises ApiToken.DoesNotExist, and IllegalTransition when it is revoked.
    """
    now = timezone.now()
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().get(name=name)
        if token.revoked_at is not None:
            raise IllegalTransition(f"the token {name!r} is revoked already")
        token.revoked_at = now
        token.save(update_fields=["revoked_at"])
        live = WebhookEndpoint.objects.filter(created_by=token.caller, disabled_at=None)
        live.update(disabled_at=now, disabled_why="its token was revoked")
    return token
