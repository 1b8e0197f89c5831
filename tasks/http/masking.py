"""What callers see of jobs that others asked for."""

from django.http import HttpRequest

from tasks.dead_letters.masking import Mask, mask_of
from tasks.http.access import caller_of
from tasks.models import Job


def mask_for(request: HttpRequest, job: Job) -> Mask | None:
    """What hides the job's sensitive values from the caller; None to whoever asked for the job: they sent them."""
    return None if job.requested_by == caller_of(request) else mask_of(job)
