"""Packets, their types, and the creators and getters of the old API."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import pytest

from graph_runtime import (
    CalculatorGraph,
    CalculatorGraphConfig,
    GraphError,
    Packet,
    Timestamp,
    packet_creator,
    packet_getter,
)
from graph_runtime.packet import INT

np = pytest.importorskip("numpy")


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


def test_errors_name_a_timestamp_as_mediapipe_does() -> None:
    graph = CalculatorGraph(graph_config='input_stream: "in"')
    graph.start_run()
    for timestamp, name in ((Timestamp.UNSET, "Unset"), (Timestamp.DONE, "Done")):
        with pytest.raises(
            ValueError, match=rf"^Timestamp::{name}\(\) can't be the timestamp of a Packet in a stream\.$"
        ):
            graph.add_packet_to_input_stream("in", Packet(1, timestamp))
    graph.close()


def test_packets_pickle() -> None:
    again = pickle.loads(pickle.dumps(packet_creator.create_int64(5).at(7)))
    assert (again.value, again.timestamp) == (5, 7)
    assert "int64_t" in repr(again)
    assert pickle.loads(pickle.dumps(Packet())).is_empty()


def test_a_message_has_the_name_of_its_c_class() -> None:
    assert "C++ type: mediapipe::CalculatorGraphConfig>" in repr(Packet(CalculatorGraphConfig()))


@pytest.mark.parametrize(
    ("create", "get", "value", "name"),
    [
        ("create_bool", "get_bool", True, "bool"),
        ("create_int", "get_int", -(2**31), "int"),
        ("create_int8", "get_int", 127, "signed char"),
        ("create_int16", "get_int", -(2**15), "short"),
        ("create_int32", "get_int", 2**31 - 1, "int"),
        ("create_int64", "get_int", 2**63 - 1, "int64_t"),
        ("create_uint8", "get_uint", 255, "unsigned char"),
        ("create_uint16", "get_uint", 65535, "unsigned short"),
        ("create_uint32", "get_uint", 2**32 - 1, "unsigned int"),
        ("create_uint64", "get_uint", 2**64 - 1, "uint64_t"),
        ("create_float", "get_float", 1.5, "float"),
        ("create_double", "get_float", 1.5, "double"),
        ("create_string", "get_str", "hä", "string"),
        ("create_string", "get_bytes", b"\xff", "string"),
        ("create_int_vector", "get_int_list", [1, 2], "::std::vector<int>"),
        ("create_int_array", "get_int_list", [1, 2], "int []"),
        ("create_float_array", "get_float_list", [1.5], "float []"),
        ("create_bool_vector", "get_bool_list", [True], "::std::vector<bool>"),
        ("create_float_vector", "get_float_list", [1.5, 2.0], "::std::vector<float>"),
        ("create_string_vector", "get_str_list", ["a"], "::std::vector<std::string>"),
    ],
)
def test_created_packets_read_back(create: str, get: str, value: Any, name: str) -> None:
    packet = getattr(packet_creator, create)(value)
    assert f"C++ type: {name}>" in repr(packet)
    assert getattr(packet_getter, get)(packet) == value


@pytest.mark.parametrize(
    ("create", "get", "number"),
    [
        ("create_bool", "get_bool", "bool_"),
        ("create_int", "get_int", "intc"),
        ("create_int8", "get_int", "int8"),
        ("create_int16", "get_int", "int16"),
        ("create_int32", "get_int", "int32"),
        ("create_int64", "get_int", "int64"),
        ("create_uint8", "get_uint", "uint8"),
        ("create_uint16", "get_uint", "uint16"),
        ("create_uint32", "get_uint", "uint32"),
        ("create_uint64", "get_uint", "uint64"),
        ("create_float", "get_float", "float32"),
        ("create_double", "get_float", "double"),
        ("create_double", "get_float", "int8"),
    ],
)
def test_numpy_numbers_become_python_numbers(create: str, get: str, number: str) -> None:
    value = getattr(packet_getter, get)(getattr(packet_creator, create)(getattr(np, number)(1)))
    assert value == 1
    assert type(value) in (bool, int, float)


@pytest.mark.parametrize(
    ("create", "values", "python"),
    [
        ("create_int_vector", [1, 2], int),
        ("create_int_array", [1, 2], int),
        ("create_float_vector", [1.0, 2.0], float),
        ("create_float_array", [1.0, 2.0], float),
        ("create_bool_vector", [True, False], bool),
    ],
)
def test_numpy_arrays_become_lists(create: str, values: list[Any], python: type) -> None:
    got = getattr(packet_creator, create)(np.array(values)).value
    assert got == values
    assert {type(value) for value in got} == {python}


def test_an_int32_may_go_where_an_int_is_declared() -> None:
    assert INT.accepts(packet_creator.create_int32(1))
    assert not INT.accepts(packet_creator.create_int64(1))


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


@pytest.mark.parametrize("create", ["create_int_vector", "create_int_array"])
def test_numbers_in_a_list_overflow_too(create: str) -> None:
    with pytest.raises(OverflowError, match="-2147483649 goes below the minimum value"):
        getattr(packet_creator, create)([1, -(2**31) - 1])


@pytest.mark.parametrize("true", [True, np.bool_(True)])
@pytest.mark.parametrize("create", ["create_int", "create_uint64", "create_float", "create_double"])
def test_a_bool_is_a_number(create: str, true: Any) -> None:
    packet = getattr(packet_creator, create)(true)
    assert packet.value == 1
    assert type(packet.value) in (int, float)


def test_floats_have_32_bits_and_doubles_64() -> None:
    single = 0.10000000149011612
    assert packet_creator.create_float(0.1).value == single
    assert packet_creator.create_float_vector([0.1, 1e300]).value == [single, math.inf]
    assert packet_creator.create_float_array([0.1]).value == [single]
    assert packet_creator.create_double(0.1).value == 0.1


def test_a_packet_of_a_packet_is_a_copy() -> None:
    packet = packet_creator.create_int64(5).at(7)
    assert repr(Packet(packet)) == repr(packet)
    assert Packet(packet).value == 5
    assert Packet(packet, 9).timestamp == 9
    assert Packet(Packet()).is_empty()


@pytest.mark.parametrize("getter", [name for name in dir(packet_getter) if name.startswith("get_")])
def test_getters_want_a_packet(getter: str) -> None:
    with pytest.raises(TypeError, match="^a Packet is needed, not int$"):
        getattr(packet_getter, getter)(5)


@pytest.mark.parametrize(
    ("packet", "found"), [(Packet(), "it is empty"), (packet_creator.create_int(1), 'it stores "int"')]
)
def test_getters_of_lists_of_numbers_say_what_they_take(packet: Packet, found: str) -> None:
    text = f"Packet doesn't contain int, int8, int16, int32, or int64 containers: {found}."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        packet_getter.get_int_list(packet)
    text = f"Packet doesn't contain std::vector<float> or std::array<float, 4 / 16> containers: {found}."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        packet_getter.get_float_list(packet)


def test_bytes_in_a_list_of_strings_are_read_as_text() -> None:
    packet = packet_creator.create_string_vector([b"a", "b"])
    assert packet_getter.get_str_list(packet) == ["a", "b"]
    with pytest.raises(UnicodeDecodeError):
        packet_getter.get_str_list(packet_creator.create_string_vector([b"\xff"]))


@pytest.mark.parametrize(
    ("create", "value"),
    [
        ("create_bool", 1),
        ("create_int", 1.5),
        ("create_int", np.float32(1)),
        ("create_uint64", np.float32(1)),
        ("create_float", "1"),
        ("create_string", 5),
        ("create_float_vector", [1.5, 2]),
        ("create_float_vector", [1.5, np.int64(2)]),
        ("create_float_vector", iter([1.5])),
        ("create_int_vector", [1, "a"]),
        ("create_int_vector", {1}),
        ("create_bool_vector", [1]),
        ("create_bool_vector", iter([True])),
        ("create_string_vector", [1]),
        ("create_string_vector", "text"),
        ("create_packet_vector", [1]),
        ("create_string_to_packet_map", {"a": 1}),
        ("create_string_to_packet_map", {1: Packet(1)}),
        ("create_string_to_packet_map", [Packet(1)]),
        ("create_matrix", "x"),
        ("create_matrix", 1),
        ("create_matrix", [[[1]]]),
        ("create_matrix", [[1j]]),
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


@pytest.mark.parametrize("get", ["get_int", "get_uint", "get_float"])
def test_getters_of_numbers_refuse_an_empty_packet(get: str) -> None:
    with pytest.raises(ValueError, match="Packet doesn't contain .* data: it is empty"):
        getattr(packet_getter, get)(Packet())


@pytest.mark.parametrize("get", ["get_bool", "get_str", "get_bool_list", "get_image", "get_matrix", "get_proto"])
def test_other_getters_refuse_an_empty_packet(get: str) -> None:
    with pytest.raises(RuntimeError, match="Expected a Packet of type: .*, but received an empty Packet"):
        getattr(packet_getter, get)(Packet())


def test_plain_python_packets_can_be_read_by_getters() -> None:
    assert packet_getter.get_int(Packet(5)) == 5
    assert packet_getter.get_str(Packet("x")) == "x"
    assert packet_getter.get_float(Packet(2.5)) == 2.5
    assert packet_getter.get_int_list(Packet([1])) == [1]


def test_a_proto_is_copied_in_and_out() -> None:
    message = CalculatorGraphConfig(input_stream=["a"])
    packet = packet_creator.create_proto(message)
    assert "C++ type: ::mediapipe::CalculatorGraphConfig>" in repr(packet)
    message.input_stream.append("b")
    packet_getter.get_proto(packet).input_stream.append("c")
    assert packet_getter.get_proto(packet) == CalculatorGraphConfig(input_stream=["a"])


def test_protos_in_a_list_are_copied_out() -> None:
    messages = [CalculatorGraphConfig(package="a"), CalculatorGraphConfig(package="b")]
    got = packet_getter.get_proto_list(Packet(messages))
    assert got == messages
    assert got[0] is not messages[0]
    assert packet_getter.get_proto_list(Packet([])) == []
    with pytest.raises(NotImplementedError):
        packet_creator.create_proto_vector(messages)


@pytest.mark.parametrize(("get", "value"), [("get_proto", 1), ("get_proto_list", 1), ("get_proto_list", [1])])
def test_what_is_no_proto_is_refused(get: str, value: Any) -> None:
    with pytest.raises(ValueError, match="The Packet stores .*, but .* was requested"):
        getattr(packet_getter, get)(Packet(value))


def test_a_matrix_is_a_copy_in_float32_that_nobody_can_change() -> None:
    given = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])[:, ::-1]
    packet = packet_creator.create_matrix(given)
    wanted = given.astype(np.float32)
    given[:] = 0
    matrix = packet_getter.get_matrix(packet)
    assert np.array_equal(matrix, wanted)
    assert (matrix.dtype, matrix.flags.f_contiguous, matrix.flags.writeable) == (np.float32, True, False)
    with pytest.raises(ValueError, match="WRITEABLE"):
        matrix.flags.writeable = True
    assert "C++ type: Eigen::Matrix<float, -1, -1, 0, -1, -1>>" in repr(packet)
    assert np.array_equal(packet_getter.get_matrix(pickle.loads(pickle.dumps(packet))), wanted)


@pytest.mark.parametrize(
    ("given", "transpose", "matrix"),
    [
        ([1, 2], False, [[1], [2]]),
        ([1, 2], True, [[1, 2]]),
        ([[1, 2, 3], [4, 5, 6]], True, [[1, 4], [2, 5], [3, 6]]),
        ([], False, []),
        ([[True, False]], False, [[1, 0]]),
    ],
)
def test_a_matrix_from_lists(given: Any, transpose: bool, matrix: Any) -> None:
    got = packet_getter.get_matrix(packet_creator.create_matrix(given, transpose))
    assert got.tolist() == matrix
    assert got.ndim == 2


def test_a_matrix_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match='The Packet stores "int", but "Eigen::Matrix'):
        packet_getter.get_matrix(packet_creator.create_int(1))
