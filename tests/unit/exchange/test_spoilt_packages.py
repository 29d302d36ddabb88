"""Each way in which a package can be wrong is found, and told as what it is."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.exchange.packages import NAME, edited, read, restated, written
from trueup.errors import PackageError
from trueup.exchange.naming import PackageName
from trueup.exchange.sealed import HEAD_BYTES, PART_BYTES, TAG_BYTES, open_file, seal_file, unzip, zip_folder
from trueup.exchange.signing import public_key, signature
from trueup.exchange.statement import FILE, SIGNATURE
from trueup.sealing import new_key


def refused(folder: Path, name: PackageName = NAME, **more: Any) -> tuple[str, str]:
    with pytest.raises(PackageError) as error:
        read(folder, name, **more)
    return error.value.kind, error.value.message


def rewritten(file: str, old: str, new: str, **own: Any) -> Callable[[Path], None]:
    """Its maker wrote something else, and stated that."""

    def change(folder: Path) -> None:
        edited(folder, file, old.encode(), new.encode())
        restated(folder, **own)

    return change


def said(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Its maker stated something else."""

    def write(folder: Path) -> None:
        body = json.loads((folder / FILE).read_text())
        change(body)
        (folder / FILE).write_text(json.dumps(body))

    return write


def latin_1(folder: Path) -> None:
    edited(folder, "invoice.csv", "O'Neill, „x“".encode(), b"O'Neill \xfc")
    restated(folder)


HALF = {
    "datapackage.json is not there": lambda folder: (folder / FILE).unlink(),
    "breaks off": lambda folder: (folder / FILE).write_bytes((folder / FILE).read_bytes()[:300]),
    "invoice.csv is not there": lambda folder: (folder / "invoice.csv").unlink(),
    "invoice-gone.csv is not there": lambda folder: (folder / "invoice-gone.csv").unlink(),
    "has 20 of": lambda folder: (folder / "invoice.csv").write_bytes((folder / "invoice.csv").read_bytes()[:20]),
}
TAMPERED = {
    "SHA-256 differs": lambda folder: edited(folder, "invoice.csv", b"0.1", b"9.1"),
    " were written": lambda folder: edited(folder, "invoice.csv", b"0.1", b"10.1"),
    "does not speak of: 'more.csv'": lambda folder: (folder / "more.csv").write_text("x"),
}
WRONG: dict[str, Callable[[Path], object]] = {
    "columns are not trueup_id, number, net": rewritten("invoice.csv", "trueup_id,number,net", "trueup_id,net,number"),
    "row 1: it has 4 values": rewritten("invoice.csv", "1,A-1,0.1", "1,A-1,0.1,x"),
    'row 1: net: "0,1" is not written': rewritten("invoice.csv", "1,A-1,0.1", '1,A-1,"0,1"'),
    'row 1: net: "" is not written as its type, decimal': rewritten("invoice.csv", "1,A-1,0.1", "1,A-1,"),
    'row 1: net: "1_0" is not': rewritten("invoice.csv", "0.1", "1_0"),
    'row 1: trueup_id: "x" is not': rewritten("invoice.csv", "1,A-1", "x,A-1"),
    "row 1: trueup_id is missing": rewritten("invoice.csv", "1,A-1", r"\N,A-1"),
    "row 2: trueup_id 1 is there twice": rewritten("invoice.csv", "\n4,", "\n1,"),
    "row 3: trueup_id 3 is out of order": rewritten("invoice.csv", "\n9,", "\n3,"),
    "row 1: it holds a NUL": rewritten("invoice.csv", "A-1", "A\x00"),
    "it is no CSV": rewritten("invoice.csv", "A-1", '"A"1'),
    "not in UTF-8": latin_1,
    "has 3 rows, and says 4": said(lambda body: body["trueup"].update(rows=4)),
    "has 2 rows, and says 1": said(lambda body: body["trueup"].update(gone=1)),
    "net adds up to 0.3, and the package says 0.30000000000000001": said(
        lambda body: body["trueup"]["totals"].update(net="0.30000000000000001")
    ),
    "one total for each column of numbers": said(lambda body: body["trueup"].update(totals={})),
    "is no decimal number in quotes": said(lambda body: body["trueup"]["totals"].update(net=0.3)),
    "says no time zone": said(lambda body: body["trueup"].update(cutoff="2026-11-20T00:00:00")),
    "cutoff is no time": said(lambda body: body["trueup"].update(cutoff="yesterday")),
    "no time zone 'Europe/Nowhere'": said(lambda body: body["trueup"].update(timezone="Europe/Nowhere")),
    "no time zone '../../etc/passwd'": said(lambda body: body["trueup"].update(timezone="../../etc/passwd")),
    "sequence is below 1": said(lambda body: body["trueup"].update(sequence=0)),
    "rows must be a whole number": said(lambda body: body["trueup"].update(rows=True)),
    "the form 2 is not known": said(lambda body: body["trueup"].update(form=2)),
    "trueup must be an object": said(lambda body: body.pop("trueup")),
    "there must be two resources": said(lambda body: body["resources"].pop()),
    "the files must be invoice.csv and invoice-gone.csv": said(lambda body: body["resources"][0].update(path="../invoice.csv")),
    "must be csv in utf-8": said(lambda body: body["resources"][1].update(encoding="latin-1")),
    "the format 'xls' is not known": said(lambda body: body["resources"][0].update(format="xls")),
    "is no sha256:": said(lambda body: body["resources"][0].update(hash="md5:0")),
    "the type 'money' of net is not known": said(lambda body: body["resources"][0]["schema"]["fields"][2].update(type="money")),
    "two columns of invoice have one name": said(lambda body: body["resources"][0]["schema"]["fields"][2].update(name="number")),
    "the first column must be trueup_id": said(lambda body: body["resources"][0]["schema"]["fields"].pop(0)),
    "the columns of invoice-gone must be": said(lambda body: body["resources"][1]["schema"]["fields"].pop()),
    "datapackage.json is not JSON": lambda folder: (folder / FILE).write_text("{'a': 1}"),
    "the whole must be an object": lambda folder: (folder / FILE).write_text("[]"),
}
CASES = [("half-copied", what, HALF[what]) for what in HALF]
CASES += [("tampered", what, TAMPERED[what]) for what in TAMPERED]
CASES += [("wrong", what, WRONG[what]) for what in WRONG]


@pytest.mark.parametrize(("kind", "what", "change"), CASES, ids=[f"{kind}: {what}" for kind, what, _ in CASES])
def test_a_package_that_is_not_as_it_must_be(tmp_path, kind, what, change):
    written(tmp_path)
    read(tmp_path)
    change(tmp_path)
    found, why = refused(tmp_path)
    assert found == kind
    assert what in why


JSON_WRONG = {
    "it is no JSON": ('{"trueup_id":1', '{trueup_id":1'),
    "it is no JSON object": ('{"trueup_id":1,"number":"A-1","net":"0.1"}', "[1]"),
    "a member is there twice": ('"trueup_id":1,', '"trueup_id":1,"trueup_id":1,'),
    "does not speak of: 'more'": ('"trueup_id":1,', '"trueup_id":1,"more":1,'),
    "NaN is not JSON": ('"0.1"', "NaN"),
    'trueup_id: "1" is not': ('"trueup_id":1,', '"trueup_id":"1",'),
    'number: "12" is not written as its type, text': ('"A-1"', "12"),
    "trueup_id is missing": ('"trueup_id":1,', ""),
}


@pytest.mark.parametrize("what", JSON_WRONG)
def test_json_lines_that_are_not_as_they_must_be(tmp_path, what):
    written(tmp_path, "jsonl")
    read(tmp_path)
    rewritten("invoice.jsonl", *JSON_WRONG[what])(tmp_path)
    kind, why = refused(tmp_path)
    assert kind == "wrong"
    assert what in why
    assert "row 1" in why


def test_a_package_must_be_the_one_that_its_name_says(tmp_path):
    written(tmp_path)
    assert refused(tmp_path, PackageName("invoice", 8)) == ("tampered", "it says that it is invoice-000007")
    assert refused(tmp_path, PackageName("order", 7))[0] == "tampered"


def test_signatures(tmp_path):
    key, other = new_key(), new_key()
    written(tmp_path, signed=True)
    text = (tmp_path / FILE).read_bytes()
    signers = (public_key(other), public_key(key))
    assert refused(tmp_path, signers=signers) == ("half-copied", f"{SIGNATURE} is not there yet")
    (tmp_path / SIGNATURE).write_bytes(signature(key, text))
    read(tmp_path, signers=signers)
    read(tmp_path)
    assert refused(tmp_path, signers=(public_key(other),))[0] == "tampered"
    restated(tmp_path)  # whoever changes a file can make the hashes fit, and not the signature
    assert refused(tmp_path, signers=signers)[0] == "tampered"
    said(lambda body: body["trueup"].update(signed=False))(tmp_path)
    (tmp_path / SIGNATURE).unlink()
    assert refused(tmp_path, signers=signers)[0] == "tampered"
    (tmp_path / SIGNATURE).write_text("not base64 ✗")
    assert refused(tmp_path, signers=signers)[0] == "tampered"


# ---------------------------------------------------------------- one file


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_what_is_sealed_opens_and_what_was_changed_or_cut_short_is_told(tmp_path, size):
    plain, sealed, opened, spoilt = (tmp_path / name for name in ("plain", "sealed", "opened", "spoilt"))
    plain.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    key = new_key()
    seal_file(plain, sealed, "invoice-000007", key)
    open_file(sealed, opened, "invoice-000007", [new_key(), key])
    assert opened.read_bytes() == plain.read_bytes()
    whole = sealed.read_bytes()

    def kind(content: bytes, name: str = "invoice-000007", keys: Any = (key,)) -> str:
        spoilt.write_bytes(content)
        with pytest.raises(PackageError) as error:
            open_file(spoilt, opened, name, keys)
        return error.value.kind

    assert {kind(whole[:length]) for length in (0, 10, HEAD_BYTES, len(whole) - 1)} == {"half-copied"}
    places = (0, 9, HEAD_BYTES, len(whole) - 1)
    assert {kind(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) for at in places} == {"tampered"}
    assert kind(whole + b"x") == "tampered"
    assert kind(whole, name="invoice-000008") == "tampered"
    assert kind(whole, keys=[new_key()]) == "tampered"


def test_the_parts_of_a_sealed_file_keep_their_order(tmp_path):
    plain, sealed, opened = (tmp_path / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(b"a" * PART_BYTES + b"b" * PART_BYTES + b"c")
    key = new_key()
    seal_file(plain, sealed, "invoice-000007", key)
    whole, part = sealed.read_bytes(), PART_BYTES + TAG_BYTES
    head, first, second, rest = (
        whole[:HEAD_BYTES],
        whole[HEAD_BYTES:][:part],
        whole[HEAD_BYTES + part :][:part],
        whole[HEAD_BYTES + 2 * part :],
    )
    sealed.write_bytes(head + second + first + rest)
    with pytest.raises(PackageError) as error:
        open_file(sealed, opened, "invoice-000007", [key])
    assert error.value.kind == "tampered"


def test_a_zip_holds_the_package_and_nothing_else(tmp_path):
    source, target = tmp_path / "source", tmp_path / "package.zip"
    source.mkdir()
    written(source)
    zip_folder(source, target)
    unzip(target, _empty(tmp_path, "whole"))
    read(tmp_path / "whole")
    whole = target.read_bytes()

    def kind(content: bytes) -> str:
        target.write_bytes(content)
        with pytest.raises(PackageError) as error:
            unzip(target, _empty(tmp_path, "spoilt"))
        return error.value.kind

    assert {kind(whole[:length]) for length in (0, 30, len(whole) // 2, len(whole) - 1)} == {"half-copied"}
    at = whole.index(b"invoice.csv") + len("invoice.csv") + 5
    assert kind(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]) == "tampered"
    for odd in ("../out.csv", "/etc/out.csv", "folder/out.csv", ".hidden"):
        assert kind(_with(whole, odd, b"x")) == "tampered"
    assert not (tmp_path / "out.csv").exists()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, (source / FILE).read_bytes())
        archive.writestr("invoice.csv", b"0" * 10_000_000)
    assert kind(bomb.getvalue()) == "tampered"
    assert not (tmp_path / "spoilt" / "invoice.csv").exists()


def _with(whole: bytes, name: str, content: bytes) -> bytes:
    more = io.BytesIO(whole)
    with zipfile.ZipFile(more, "a") as archive:
        archive.writestr(name, content)
    return more.getvalue()


def _empty(parent: Path, name: str) -> Path:
    folder = parent / name
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    folder.mkdir()
    return folder
