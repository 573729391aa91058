"""Both ends of a link believe each other only with the key, a fresh proof, the same protocol and the right name."""

import msgspec
import pytest

from holdfast.errors import PeerError
from holdfast.model.names import Party
from holdfast.wire.handshake import PROTOCOL, Calling, FrameKeys, Hello, Listening, Proof, Welcome
from holdfast.wire.link_messages import decoded

KEY = b"k" * 32
HA = Party("ha")
AGENT = Party("agent:h1")


def calling(key: bytes = KEY, nonce: bytes = b"c" * 16, listener: Party = AGENT) -> Calling:
    return Calling(key, HA, listener, nonce)


def listening(key: bytes = KEY, nonce: bytes = b"l" * 16) -> Listening:
    return Listening(key, AGENT, nonce)


def sent(payload: bytes | None) -> bytes:
    assert payload is not None
    return payload


def test_two_that_share_a_key_come_to_know_each_other() -> None:
    caller, listener = calling(), listening()
    welcome = sent(listener.answer(sent(caller.first())))
    assert not listener.is_done
    proof = sent(caller.answer(welcome))
    assert listener.answer(proof) is None
    assert (caller.is_done, listener.is_done) == (True, True)
    assert (caller.peer, listener.peer) == (AGENT, HA)


def keys_of(nonce: bytes = b"c" * 16, key: bytes = KEY) -> tuple[FrameKeys, FrameKeys]:
    """Of a caller and a listener that came to know each other."""
    caller, listener = calling(key=key, nonce=nonce), listening(key=key)
    listener.answer(sent(caller.answer(sent(listener.answer(sent(caller.first()))))))
    assert caller.keys is not None
    assert listener.keys is not None
    return caller.keys, listener.keys


def test_both_have_the_same_keys_then_one_for_each_direction_and_new_ones_for_each_link() -> None:
    caller, listener = keys_of()
    assert (caller.sends, caller.hears) == (listener.hears, listener.sends)
    others = keys_of(nonce=b"d" * 16) + keys_of(key=b"x" * 32)
    everything = {caller.sends, caller.hears, *(key for keys in others for key in keys)}
    assert len(everything) == 6


def test_the_caller_refuses_a_listener_with_another_key() -> None:
    caller, listener = calling(), listening(key=b"x" * 32)
    with pytest.raises(PeerError, match="agent:h1 does not know this deployment's key"):
        caller.answer(sent(listener.answer(sent(caller.first()))))
    assert not caller.is_done


def test_the_listener_refuses_a_caller_with_another_key() -> None:
    listener = listening()
    sent(listener.answer(sent(calling().first())))
    with pytest.raises(PeerError, match="ha does not know"):
        listener.answer(msgspec.msgpack.encode(Proof(b"p" * 32)))
    assert not listener.is_done


def test_a_proof_that_was_overheard_is_worth_nothing_on_the_next_link() -> None:
    caller, listener = calling(), listening()
    hello = sent(caller.first())
    proof = sent(caller.answer(sent(listener.answer(hello))))
    again = listening(nonce=b"m" * 16)
    sent(again.answer(hello))
    with pytest.raises(PeerError, match="does not know"):
        again.answer(proof)


def test_a_listeners_proof_cannot_be_sent_back_to_it() -> None:
    listener = listening()
    welcome = msgspec.msgpack.decode(sent(listener.answer(sent(calling().first()))), type=Welcome)
    with pytest.raises(PeerError, match="does not know"):
        listener.answer(msgspec.msgpack.encode(Proof(welcome.proof)))


def test_a_foreign_version_is_refused_with_both_numbers() -> None:
    with pytest.raises(PeerError, match="speaks protocol 99, this side speaks 4"):
        listening().answer(msgspec.msgpack.encode(Hello(99, HA, b"c" * 16)))
    caller = calling()
    with pytest.raises(PeerError, match=f"speaks protocol {PROTOCOL + 1}"):
        caller.answer(msgspec.msgpack.encode(Welcome(PROTOCOL + 1, AGENT, b"l" * 16, b"")))


def test_a_listener_tells_a_caller_of_another_version_which_one_it_speaks() -> None:
    listener = listening()
    with pytest.raises(PeerError, match="speaks protocol 2, this side speaks 4"):
        listener.answer(msgspec.msgpack.encode(Hello(2, HA, b"c" * 16)))
    farewell = msgspec.msgpack.decode(sent(listener.farewell), type=Welcome)
    assert (farewell.protocol, farewell.proof) == (PROTOCOL, b"")
    assert listening().farewell is None


def test_a_caller_that_reached_somebody_else_says_so() -> None:
    caller = calling(listener=Party("agent:h2"))
    with pytest.raises(PeerError, match="agent:h1 answered where agent:h2 was expected"):
        caller.answer(sent(listening().answer(sent(caller.first()))))


def test_a_short_nonce_is_refused() -> None:
    with pytest.raises(PeerError, match="nonce of 1 bytes"):
        listening().answer(sent(calling(nonce=b"c").first()))


@pytest.mark.parametrize("payload", [b"", b"\xff\xff", msgspec.msgpack.encode({"type": "Rubbish"})])
def test_rubbish_is_refused(payload: bytes) -> None:
    with pytest.raises(PeerError):
        listening().answer(payload)
    with pytest.raises(PeerError):
        decoded(payload)


def test_nothing_is_taken_out_of_turn() -> None:
    with pytest.raises(PeerError, match="Proof out of turn"):
        listening().answer(msgspec.msgpack.encode(Proof(b"")))
    listener = listening()
    sent(listener.answer(sent(calling().first())))
    with pytest.raises(PeerError, match="Hello out of turn"):
        listener.answer(sent(calling().first()))
