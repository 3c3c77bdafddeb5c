"""Packets, their types, and the creators and getters of the old API."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from graph_runtime import GraphError, Packet, Timestamp, packet_creator, packet_getter


def test_an_empty_packet() -> None:
    packet = Packet()
    assert packet.is_empty()
    assert packet.timestamp == Timestamp.UNSET
    assert repr(packet) == "<mediapipe.Packet with timestamp: UNSET and no data>"
    with pytest.raises(GraphError, match="is_empty"):
        packet.value  # noqa: B018  # reading is what is tested


def test_none_is_a_value() -> None:
    assert not Packet(None).is_empty()
    assert Packet(None).value is None


def test_at_makes_a_copy_that_shares_the_value() -> None:
    value = [1]
    packet = Packet(value)
    later = packet.at(Timestamp(3))
    assert (later.timestamp, packet.timestamp) == (3, Timestamp.UNSET)
    assert later.value is value
    assert repr(later) == "<mediapipe.Packet with timestamp: 3 and C++ type: list>"
    later.timestamp = Timestamp.PRESTREAM
    assert later.timestamp == Timestamp.PRESTREAM


@pytest.mark.parametrize("timestamp", ["1", 1.5, None])
def test_a_timestamp_is_an_int(timestamp: Any) -> None:
    with pytest.raises(TypeError):
        Packet(1).at(timestamp)


def test_packets_pickle() -> None:
    again = pickle.loads(pickle.dumps(packet_creator.create_int64(5).at(7)))
    assert (again.value, again.timestamp) == (5, 7)
    assert "int64_t" in repr(again)
    assert pickle.loads(pickle.dumps(Packet())).is_empty()


@pytest.mark.parametrize(
    ("create", "get", "value", "name"),
    [
        ("create_bool", "get_bool", True, "bool"),
        ("create_int", "get_int", -(2**31), "int"),
        ("create_int8", "get_int", 127, "int8_t"),
        ("create_int16", "get_int", -(2**15), "int16_t"),
        ("create_int32", "get_int", 2**31 - 1, "int"),
        ("create_int64", "get_int", 2**63 - 1, "int64_t"),
        ("create_uint8", "get_uint", 255, "uint8_t"),
        ("create_uint16", "get_uint", 65535, "uint16_t"),
        ("create_uint32", "get_uint", 2**32 - 1, "uint32_t"),
        ("create_uint64", "get_uint", 2**64 - 1, "uint64_t"),
        ("create_float", "get_float", 1.5, "float"),
        ("create_double", "get_float", 1.5, "double"),
        ("create_string", "get_str", "hä", "string"),
        ("create_string", "get_bytes", b"\xff", "string"),
        ("create_int_vector", "get_int_list", [1, 2], "::std::vector<int>"),
        ("create_int_array", "get_int_list", [1, 2], "int[]"),
        ("create_float_array", "get_float_list", [1.5], "float[]"),
        ("create_bool_vector", "get_bool_list", [True], "::std::vector<bool>"),
        ("create_float_vector", "get_float_list", [1.5, 2.0], "::std::vector<float>"),
        ("create_string_vector", "get_str_list", ["a"], "::std::vector<std::string>"),
    ],
)
def test_created_packets_read_back(create: str, get: str, value: Any, name: str) -> None:
    packet = getattr(packet_creator, create)(value)
    assert f"C++ type: {name}>" in repr(packet)
    assert getattr(packet_getter, get)(packet) == value


def test_nested_packets_read_back() -> None:
    inner = packet_creator.create_int(1)
    assert packet_getter.get_packet_list(packet_creator.create_packet_vector([inner])) == [inner]
    assert packet_getter.get_str_to_packet_dict(packet_creator.create_string_to_packet_map({"a": inner})) == {
        "a": inner
    }


@pytest.mark.parametrize(("create", "value"), [("create_int8", 128), ("create_uint8", 256), ("create_int", 2**31)])
def test_too_large_numbers_overflow(create: str, value: int) -> None:
    with pytest.raises(OverflowError, match=rf"{value} execeeds the maximum value"):
        getattr(packet_creator, create)(value)


@pytest.mark.parametrize(
    ("create", "value"),
    [
        ("create_bool", 1),
        ("create_int", True),
        ("create_int", 1.5),
        ("create_float", "1"),
        ("create_string", 5),
        ("create_float_vector", [1.5, 2]),
        ("create_int_vector", [1, "a"]),
        ("create_bool_vector", [1]),
        ("create_string_vector", [1]),
        ("create_packet_vector", [1]),
        ("create_string_to_packet_map", {"a": 1}),
        ("create_proto", 1),
    ],
)
def test_values_of_a_wrong_type_are_refused(create: str, value: Any) -> None:
    with pytest.raises(TypeError):
        getattr(packet_creator, create)(value)


def test_getters_refuse_other_types_in_mediapipes_words() -> None:
    with pytest.raises(ValueError, match="Packet doesn't contain int, int8, int16, int32, or int64 data."):
        packet_getter.get_int(packet_creator.create_string("x"))
    with pytest.raises(ValueError, match="Packet doesn't contain int"):
        packet_getter.get_int(packet_creator.create_uint8(1))
    with pytest.raises(ValueError, match='The Packet stores "int", but "string" was requested.'):
        packet_getter.get_str(packet_creator.create_int(1))
    with pytest.raises(ValueError, match="empty"):
        packet_getter.get_int(Packet())


def test_plain_python_packets_can_be_read_by_getters() -> None:
    assert packet_getter.get_int(Packet(5)) == 5
    assert packet_getter.get_str(Packet("x")) == "x"
    assert packet_getter.get_float(Packet(2.5)) == 2.5
    assert packet_getter.get_int_list(Packet([1])) == [1]
