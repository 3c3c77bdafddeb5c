"""multipart/form-data bodies: whole ones, and every way to break one."""

from __future__ import annotations

import io
import random
from contextlib import suppress

import pytest
from aiohttp import FormData

from calculators.http_payload import Part, RequestError
from server.multipart import MAX_PARTS, parse_multipart

TYPE = "multipart/form-data; boundary=XX"
FIELD = b'Content-Disposition: form-data; name="a"\r\n\r\n'


def body(*parts: bytes) -> bytes:
    return b"".join(b"--XX\r\n" + part + b"\r\n" for part in parts) + b"--XX--\r\n"


def refusal(text: bytes, content_type: str = TYPE) -> str:
    with pytest.raises(RequestError) as caught:
        parse_multipart(text, content_type)
    error = caught.value
    assert (error.status, error.code) == (400, "invalid_multipart")
    assert error.message.startswith("Failed to parse multipart data: ")
    return error.message


def test_parts_have_their_names_contents_and_file_names() -> None:
    text = body(
        FIELD + b"plain",
        b'content-disposition: FORM-DATA; NAME="image[]"; filename="cat \xc3\xa4.png"\r\n'
        b"Content-Type: image/png\r\n\r\n\x89PNG\r\n--X\r\n",
        b"Content-Disposition: form-data; name=mask; filename*=UTF-8''%e2%82%ac.png\r\nX-More: 1\r\n\r\n",
    )
    assert parse_multipart(text, TYPE) == (
        Part("a", b"plain"),
        Part("image[]", b"\x89PNG\r\n--X\r\n", "cat ä.png", "image/png"),
        Part("mask", b"", "€.png"),
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"--XX--\r\n", 0),
        (b"--XX--", 0),
        (b"preamble\r\n--XX\r\n" + FIELD + b"x\r\n--XX--\r\nepilogue", 1),
        (b"--XX \t\r\n" + FIELD + b"x\r\n--XX--", 1),
    ],
)
def test_what_the_rfc_allows_around_parts(text: bytes, count: int) -> None:
    assert len(parse_multipart(text, TYPE)) == count


@pytest.mark.parametrize(
    "content_type", ['multipart/form-data; boundary="XX"', "Multipart/Form-Data; charset=utf-8; Boundary=XX"]
)
def test_the_boundary_is_read_from_the_header(content_type: str) -> None:
    assert parse_multipart(body(FIELD + b"x"), content_type) == (Part("a", b"x"),)


@pytest.mark.parametrize(
    ("text", "content_type", "message"),
    [
        (body(FIELD), "multipart/form-data", "needs a boundary of 1 to 70 characters"),
        (body(FIELD), "multipart/form-data; boundary=", "needs a boundary of 1 to 70 characters"),
        (body(FIELD), f"multipart/form-data; boundary={'X' * 71}", "needs a boundary of 1 to 70 characters"),
        (b"", TYPE, "does not begin with the boundary"),
        (b'{"prompt": "a"}', TYPE, "does not begin with the boundary"),
        (body(FIELD), "multipart/form-data; boundary=other", "does not begin with the boundary"),
        (b"--XX", TYPE, "after the boundary before part 1 no new line begins"),
        (b"--XXX\r\n" + FIELD + b"\r\n--XX--", TYPE, "after the boundary before part 1 no new line begins"),
        (b"--XX\r\n", TYPE, "part 1 does not end: the body broke off"),
        (b"--XX\r\n" + FIELD + b"x", TYPE, "part 1 does not end"),
        (b"--XX\r\n" + FIELD + b"x\r\n--XX\r\n" + FIELD, TYPE, "part 2 does not end"),
        (b"--XX\r\n" + FIELD + b"x\r\n--XX\r\n--XX--", TYPE, "the headers of part 2 do not end"),
        (body(b"\r\nno headers"), TYPE, "part 1 has no headers"),
        (body(b"Content-Disposition: form-data; name=a"), TYPE, "the headers of part 1 do not end"),
        (body(b"X: " + b"y" * 9000 + b"\r\n" + FIELD), TYPE, "longer than 8192 bytes"),
        (body(b"X\xff: 1\r\n" + FIELD), TYPE, "the headers of part 1 are not UTF-8"),
        (body(b"no colon\r\n" + FIELD), TYPE, "part 1 has a header line without a name"),
        (body(b" folded: x\r\n" + FIELD), TYPE, "part 1 has a header line without a name"),
        (body(b"X: 1\r\n\r\nx"), TYPE, 'needs the header Content-Disposition: form-data; name="..."'),
        (body(b"Content-Disposition: form-data\r\n\r\nx"), TYPE, "needs the header Content-Disposition"),
        (body(b"Content-Disposition: attachment; name=a\r\n\r\nx"), TYPE, "needs the header Content-Disposition"),
        (body(b"Content-Disposition: ;;;=\r\n\r\nx"), TYPE, "needs the header Content-Disposition"),
        (body(b"Content-Transfer-Encoding: base64\r\n" + FIELD), TYPE, "has Content-Transfer-Encoding 'base64'"),
        (body(*[FIELD] * (MAX_PARTS + 1)), TYPE, f"there are more than {MAX_PARTS} parts"),
    ],
)
def test_a_broken_body_is_refused_with_the_place(text: bytes, content_type: str, message: str) -> None:
    assert message in refusal(text, content_type)


def test_a_body_cut_anywhere_is_refused() -> None:
    whole = body(FIELD + b"x", FIELD.replace(b'"a"', b'"b"') + b"y\r\n")
    for length in range(len(whole) - 2):  # the closing boundary without its line end is whole
        refusal(whole[:length])


def test_random_damage_never_does_anything_but_refuse() -> None:
    whole = body(FIELD + b"x" * 20, FIELD + b"\r\n--XX-y")
    chance = random.Random(3)
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.choice(b'\r\n-X:;="\x00a')
        with suppress(RequestError):
            parse_multipart(bytes(damaged), TYPE)


async def test_what_a_real_client_writes_is_read_back() -> None:
    form = FormData()
    form.add_field("prompt", "ä\r\n--XX")
    form.add_field("image", io.BytesIO(bytes(range(256)) * 500), filename='a "b".png', content_type="image/png")
    written = form()
    data = await written.as_bytes()
    prompt, image = parse_multipart(data, written.headers["Content-Type"])
    assert (prompt.name, prompt.data.decode()) == ("prompt", "ä\r\n--XX")
    assert (image.name, image.data, image.content_type) == ("image", bytes(range(256)) * 500, "image/png")
