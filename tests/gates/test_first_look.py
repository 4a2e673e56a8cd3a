"""S6: whatever a service answers to rclone's first lookup of its path, it serves the source's own prefix and never the folder above.

rclone asks with HEAD whether its path is a file, and takes many an answer for yes. It does not ask for a path that ends with a slash.
With the wrapper on a relay: tests/scripts/relay/test_first_look.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from attack_drill.http2 import Session
from tests.enforced.relayed_repository import RelayedRepository
from tests.enforced.servers import Identity
from tests.enforced.vault import Vault
from tests.gates.gate import Gate, opened
from tests.gates.harness import repository_behind
from tests.gates.rules import HeadAnswered

FOLDER = "web1/g1"
ABOVE = b"the config of the folder above"
# None: the service gives the true answer, that there is no such object, and the folder is empty.
ANSWERS = (200, 403, 404, 405, 500, None)
WITHOUT_THE_SLASH_THE_PARENT_IS_SERVED = {200, 403, 500}

Looked = Callable[[int | None], RelayedRepository]


@pytest.fixture(scope="module")
def looked(vault: Vault, web1: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    """web1's repository, whose folder is empty while the folder above is not. HEAD of the folder's name gets the answer that the test wants."""
    vault.server.root.put_object(Bucket=vault.bucket, Key="web1/config", Body=ABOVE)
    rule = HeadAnswered({})
    with opened(Gate(vault.server.endpoint, vault.server.ca.parent, [rule])) as gate:
        repository = repository_behind(gate, vault, web1, tmp_path_factory.mktemp("repository"))

        def answering(status: int | None) -> RelayedRepository:
            rule.status = {} if status is None else {FOLDER: status}
            return repository

        yield answering


@contextmanager
def session(repository: RelayedRepository) -> Iterator[Session]:
    with Session([str(repository.serve)]) as opened_session:
        yield opened_session


@pytest.mark.parametrize("status", ANSWERS)
def test_s6_the_sources_own_folder_is_served(looked: Looked, status: int | None) -> None:
    with session(looked(status)) as own:
        answer = own.ask("GET", "/config")
        assert (answer.status, answer.body) == (404, b"Not Found\n")


def test_s6_sabotage_without_the_slash_the_folder_above_is_served(looked: Looked) -> None:
    served = set()
    for status in ANSWERS:
        repository = looked(status)
        text = repository.serve.read_text()
        assert f"/{FOLDER}/ " in text
        impatient = text.replace("--low-level-retries 3", "--low-level-retries 1")
        repository.serve.write_text(impatient.replace(f"/{FOLDER}/ ", f"/{FOLDER} "))
        with session(repository) as own:
            answer = own.ask("GET", "/config")
        if answer.body == ABOVE:
            served.add(status)
        repository.serve.write_text(text)
    assert served == WITHOUT_THE_SLASH_THE_PARENT_IS_SERVED


def test_s6_new_objects_are_written_to_the_sources_own_folder(looked: Looked, vault: Vault) -> None:
    with session(looked(403)) as own:
        assert own.ask("POST", "/config", b"mine").status == 200
        assert own.ask("GET", "/config").body == b"mine"
    root = vault.server.root
    read = {
        version["Key"]: root.get_object(Bucket=vault.bucket, **version)["Body"].read()
        for version in vault.versions()
    }
    assert read == {"web1/config": ABOVE, f"{FOLDER}/config": b"mine"}
