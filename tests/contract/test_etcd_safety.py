"""TLS and authentication against a real cluster, and what is said when they do not fit."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from holdfast.errors import UserError
from holdfast.model.names import HA
from holdfast.store.etcd import EtcdState, EtcdStore
from holdfast.store.etcd_state import Write
from holdfast.store.etcd_target import Target, is_here, parse_target
from tests.contract.etcd_cluster import PATIENT_S, Certificates, Cluster, cluster

PASSWORD = "correct horse"


def secret(file: Path, text: str) -> None:
    file.touch(0o600)
    file.write_text(text + "\n")


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Members with TLS that want client certificates, users and passwords."""
    folder = tmp_path_factory.mktemp("safe")
    certificates = Certificates(folder / "certificates")
    cert, key = certificates.own
    secret(folder / "password", PASSWORD)
    with cluster(folder / "cluster", certificates, ("--client-cert-auth",)) as made:
        ctl = [f"--cacert={certificates.ca}", f"--cert={cert}", f"--key={key}"]
        for words in (
            ("user", "add", "root:root"), ("user", "grant-role", "root", "root"),
            ("user", "add", f"holdfast:{PASSWORD}"), ("role", "add", "holdfast"),
            ("role", "grant-permission", "--prefix=true", "holdfast", "readwrite", "/holdfast/safe/"),
            ("user", "grant-role", "holdfast", "holdfast"), ("auth", "enable"),
        ):  # fmt: skip
            made.etcdctl(*ctl, *words)
        yield made


@pytest.fixture
def target(safe: Cluster) -> Target:
    folder = safe.certificates.folder if safe.certificates else Path()
    members = ",".join(str(member.endpoint) for member in safe.members.values())
    options = f"ca={folder / 'ca.pem'}&cert={folder / 'client.pem'}&key={folder / 'client.key'}"
    return parse_target(f"etcds://holdfast@{members}/safe?{options}&password-file={folder.parent / 'password'}")


def test_state_is_kept_over_tls_with_a_password(target: Target) -> None:
    with EtcdStore(target, PATIENT_S) as store:
        assert store.save(HA, {"a": b"1"}, 0) == 1
        assert store.load(HA).parts == {"a": b"1"}


def test_a_token_that_the_members_do_not_know_is_renewed(safe: Cluster, target: Target) -> None:
    async def on_and_on() -> None:
        client = safe.client(target)
        state = EtcdState(client)
        version = (await state.load(HA)).version
        await state.save([Write(HA, {"a": b"2"}, version)])
        first = client._token
        served_by = next(member for member in safe.members.values() if member.endpoint == client.nearest)
        served_by.kill()
        served_by.start()
        await asyncio.to_thread(safe.wait_ready)
        client._token = "forgotten.1"
        await state.save([Write(HA, {"a": b"3"}, version + 1)])
        assert client._token not in {first, "forgotten.1"}
        await client.close()

    asyncio.run(on_and_on())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("password", "does not believe user 'holdfast'"),
        ("user", "does not believe user 'nobody'"),
        ("nobody", "wants authentication"),
        ("folder", "forbids this to user 'holdfast'"),
        ("authority", "certificate is not believed"),
        ("no certificate", "does not believe our certificate, or wants one"),
        ("no tls", "write etcds:// instead"),
    ],
)
def test_what_does_not_fit_is_said_at_once_and_in_words(target: Target, tmp_path: Path, wrong: str, words: str) -> None:
    secret(tmp_path / "password", "wrong")
    other = Certificates(tmp_path / "other")
    changed: dict[str, dict[str, Any]] = {
        "password": {"password_file": str(tmp_path / "password")},
        "user": {"user": "nobody"},
        "nobody": {"user": "", "password_file": ""},
        "folder": {"folder": "/holdfast/another"},
        "authority": {"ca": str(other.ca)},
        "no certificate": {"cert": "", "key": ""},
        "no tls": {"tls": False},
    }
    with (
        EtcdStore(structs.replace(target, **changed[wrong]), PATIENT_S) as store,
        pytest.raises(UserError, match=words) as told,
    ):
        store.load(HA)
    assert told.value.hint


def test_tls_to_a_cluster_that_speaks_none(real_etcd: Cluster, target: Target) -> None:
    with (
        EtcdStore(structs.replace(target, endpoints=real_etcd.target().endpoints), PATIENT_S) as store,
        pytest.raises(UserError, match="perhaps it speaks none"),
    ):
        store.load(HA)


def test_a_password_for_a_cluster_without_authentication(real_etcd: Cluster, target: Target) -> None:
    plain = structs.replace(target, endpoints=real_etcd.target().endpoints, tls=False)
    with EtcdStore(plain, PATIENT_S) as store, pytest.raises(UserError, match="has no authentication"):
        store.load(HA)


def test_members_of_two_clusters_are_not_taken_for_one(real_etcd: Cluster, tmp_path: Path) -> None:
    with cluster(tmp_path / "other") as other:
        mixed = structs.replace(
            real_etcd.target(), endpoints=(real_etcd.target().endpoints[0], other.target().endpoints[0])
        )
        with EtcdStore(mixed, PATIENT_S) as store:
            store.load(HA)
            # Whichever of the two has answered: the other one is asked next.
            members = (*real_etcd.members.values(), *other.members.values())
            next(member for member in members if member.endpoint == store._client.nearest).kill()
            with pytest.raises(UserError, match="is of cluster"):
                store.load(HA)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite:///x", "is no address of a store"),
        ("etcd://", "is no member"),
        ("etcd://a:port/x", "is no member"),
        ("etcd://a,,b/x", "is no member"),
        ("etcd://a,a:2379", "names a member twice"),
        ("etcd://me:secret@a", "does not belong into the address"),
        ("etcd://me@a", "belong together"),
        ("etcd://a?password-file=p", "belong together"),
        ("etcd://a?ca=x", "has no option 'ca'"),
        ("etcds://a?key=x", "key without cert"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_expected(address: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_target(address)


def test_members_of_this_machine_are_asked_first() -> None:
    own = socket.gethostname()
    target = parse_target(f"etcd://198.51.100.7,no-such-host.invalid,127.0.0.1,{own}.example/x")
    here = [one.host for one in target.own_first(is_here).endpoints]
    assert here == ["127.0.0.1", f"{own}.example", "198.51.100.7", "no-such-host.invalid"]


def test_an_address_says_everything_but_the_password(tmp_path: Path) -> None:
    secret(tmp_path / "p", "secret")
    target = parse_target(f"etcds://me@[fd00::1],b.example:4001/prod?ca=/c&password-file={tmp_path / 'p'}")
    assert [str(endpoint) for endpoint in target.endpoints] == ["[fd00::1]:2379", "b.example:4001"]
    assert (target.folder, target.user, target.password(), target.ca) == ("/holdfast/prod", "me", "secret", "/c")


@pytest.mark.parametrize(("mode", "words"), [(0o644, "others may read the password file"), (None, "cannot be read")])
def test_a_password_file_is_there_and_for_its_owner_alone(tmp_path: Path, mode: int | None, words: str) -> None:
    if mode is not None:
        secret(tmp_path / "p", "secret")
        (tmp_path / "p").chmod(mode)
    with pytest.raises(UserError, match=words) as told:
        parse_target(f"etcd://me@a?password-file={tmp_path / 'p'}").password()
    assert told.value.hint
