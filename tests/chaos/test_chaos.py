from pathlib import Path

from tests.chaos.run import chaos


async def test_every_job_ends_truly_and_once_through_faults_and_kills(tmp_path: Path) -> None:
    outcome = await chaos(seed=7, jobs=60, kills=2, folder=tmp_path)
    assert not outcome.wrong
    assert outcome.ends["succeeded"] >= 30
