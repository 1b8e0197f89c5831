"""The README's own task, as a newcomer would copy it."""

import re
import subprocess
import sys

from tasks.models import Job
from tests.acceptance.conftest import ROOT
from tests.acceptance.seeing import ended


def test_the_ten_lines_of_the_readme_run(platform, start_worker, tmp_path):
    task, caller = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in task.splitlines() if line.strip() and not line.startswith("#")]) <= 10
    app = tmp_path / "greetings"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "tasks.py").write_text(task)
    changed = {"EXTRA_APPS": "greetings", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    start_worker("-c", "1", **changed)
    environment = {**platform, **changed, "DJANGO_SETTINGS_MODULE": "project.settings"}
    program = f"import django; django.setup()\n{caller}\nprint(job.pk)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    job = Job.objects.get(pk=done.stdout.split()[-1])
    assert ended(job) == ["succeeded"]
    assert job.result == {"text": "Hello Ada"}
