"""The door for features' own HTTP operations: they import what they need of ours from here and from nowhere else."""

from tasks.http.accepting import accept_payload, answer_accepted, documented, enqueue_for, parameters
from tasks.http.access import allowed, caller_of, is_person, may
from tasks.http.batches import MOST_JOBS, BatchAnswer, Work, accept_many
from tasks.http.batches import documented as many_documented
from tasks.http.body import checked, parsed_text
from tasks.http.body import read as read_body
from tasks.http.files import file_answer, file_documented
from tasks.http.idempotency import HEADER_META as IDEMPOTENCY_HEADER
from tasks.http.idempotency import digest
from tasks.http.paging import PageOut, PageQuery, answer_page, cursor_of
from tasks.http.paging import documented as page_documented
from tasks.http.query import PLAIN, Text
from tasks.http.query import read as read_query
from tasks.http.schemas import JobOptions, JobOut, answer, payload_of
from tasks.http.visibility import require_view, visible
from tasks.seeking import page
from tasks.uploads import forget_upload, save_uploads, storage_name

__all__ = [
    "IDEMPOTENCY_HEADER",
    "MOST_JOBS",
    "PLAIN",
    "BatchAnswer",
    "JobOptions",
    "JobOut",
    "PageOut",
    "PageQuery",
    "Text",
    "Work",
    "accept_many",
    "accept_payload",
    "allowed",
    "answer",
    "answer_accepted",
    "answer_page",
    "caller_of",
    "checked",
    "cursor_of",
    "digest",
    "documented",
    "enqueue_for",
    "file_answer",
    "file_documented",
    "forget_upload",
    "is_person",
    "many_documented",
    "may",
    "page",
    "page_documented",
    "parameters",
    "parsed_text",
    "payload_of",
    "read_body",
    "read_query",
    "require_view",
    "save_uploads",
    "storage_name",
    "visible",
]
