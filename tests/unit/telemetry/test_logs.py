import json
import logging
import subprocess
import sys

from orchestrator.telemetry.logs import JsonFormatter, about


def written(record: logging.LogRecord) -> dict[str, object]:
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)  # type: ignore[no-any-return]


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("orchestrator.x").makeRecord(
        "orchestrator.x", logging.WARNING, "x.py", 1, message, arguments, None, extra=extra
    )


def test_a_line_is_one_object_with_the_job_and_the_stage() -> None:
    line = written(record("job %s: %s", "j", "run", job="j", stage="run", seconds=0.5))
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "logger": "orchestrator.x",
        "message": "job j: run",
        "job": "j",
        "stage": "run",
        "seconds": 0.5,
    }


def test_what_is_logged_about_a_job_names_it() -> None:
    assert "job" not in written(record("nothing"))
    with about("j"):
        assert written(record("a backend was lost"))["job"] == "j"
    assert "job" not in written(record("nothing"))


def test_a_traceback_and_the_end_of_a_line_are_within_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        made = record("it\nfailed")
        made.exc_info = sys.exc_info()
    line = written(made)
    assert line["message"] == "it\nfailed"
    assert "ValueError: two\nlines" in str(line["exception"])


def test_the_formats_are_what_the_root_logger_writes() -> None:
    program = (
        "import logging, sys\n"
        "from orchestrator.telemetry.logs import STAGES, configure\n"
        "for name in ('text', 'json', 'text', 'json'):\n"
        "    configure(name)\n"
        "    logging.getLogger('a').info('line %s', name)\n"
        "    STAGES.info('stage %s', name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    lines = done.stderr.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("INFO    a: line text")
    assert [json.loads(line)["message"] for line in lines[1:3]] == ["line json", "stage json"]
