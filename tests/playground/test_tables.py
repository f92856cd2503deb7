"""Tables as spreadsheets, programs and ``cat`` write them: what is read, and the errors with file and line."""

import csv
import gzip

import pytest

from nova_sched.cli.main import main
from nova_sched.playground import workload
from nova_sched.playground.tables import rows
from rpc_api import errors

COLUMNS = ("host", "load", "rack")
PLAIN = "host,load,rack\na,1.5,r1\nb,2,r2\n"
WANTED = [("a", 1.5, "r1"), ("b", 2.0, "r2")]
MARK = "\ufeff"


def read(tmp_path, content, **options):
    path = tmp_path / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.text("host"), row.number("load"), row.text("rack")) for row in rows(str(path), COLUMNS, **options)]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.rstrip("\n"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        MARK + PLAIN,
        (MARK + PLAIN.replace(",", "\t").replace("\n", "\r\n")).encode("utf-16-le"),
        (MARK + PLAIN.replace(",", "\t")).encode("utf-16-be"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", ";").replace("1.5", "1,5"),
        PLAIN.replace(",", "\t").replace("1.5", "1,5"),
        "sep=;\r\n" + PLAIN.replace(",", ";"),
        "\n\n" + PLAIN + "\n\n",
        ",,\n" + PLAIN + ",,\n,,\n",
        PLAIN.replace("\n", ",,,\n"),
        PLAIN.replace("host,load,rack\n", "host,load,rack,,\n"),
        PLAIN.replace("r1\n", "r1,,,\n"),
        '"host","load","rack"\n"a","1.5","r1"\n"b","2","r2"\n',
        'host, load, rack\n"a", "1.5" , r1\nb , 2 ,"r2"\n'.replace('" ,', '",'),
        "Host , LOAD,Rack\na,1.5,r1\nb,2,r2\n",
        "rack,more,load,host\nr1,x,1.5,a\nr2,y,2,b\n",
        ",host,load,rack\n0,a,1.5,r1\n1,b,2,r2\n",
        "host,load,rack\na,1.5,r1\nhost,load,rack\nb,2,r2\n",
        MARK + "host,load,rack\na,1.5,r1\n" + MARK + "host,load,rack\nb,2,r2\n",
        "host,load,rack\na,1.5,r1\nsep=;\nrack;host;load\nr2;b;2\n",
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(b"host,load,rack\na,1.5,r1\n", mtime=0) + gzip.compress(b"host,load,rack\nb,2,r2\n", mtime=0),
    ],
    ids=range(27),
)
def test_what_is_read(tmp_path, content):
    assert read(tmp_path, content) == WANTED


JOINED = "has the last line of one file and the first line of the next one, because there is no newline at the end"


@pytest.mark.parametrize(
    "content",
    [
        "host,load,rack\na,1.5,r1\nb,2,host,load,rack\n",
        "host,load,rack\na,1.5,r1\nb,2,host,load,rack\nc,3,r3\n",
        "host,load,rack\na,1.5,r1\nb,2,r2host,load,rack\nc,3,r3\n",
        "host,load,rack\na,1.5,r1\nb,2,rack,load,host\n",
        "host,load,rack\na,1.5,r1\nb,,host,load,rack\n",
        "host,load,rack\na,1.5,r1\n,,host,load,rack\n",
        "host,load,rack\na,1.5,r1\nb,2,host;load;rack\nc;3;r3\n",
        "host,load,rack\na,1.5,r1\nb,2," + MARK + "host,load,rack\n",
        "host;load;rack\r\na;1,5;r1\r\nb;2;host;load;rack\r\nc;3;r3\r\n",
        "n,host,load,rack\n0,a,1.5,r1\n1,b,2,n,host,load,rack\n2,c,3,r3\n",
        "host,load,rack\na,1.5,r1\nb,2,sep=;\nhost;load;rack\nc;3;r3\n",
        'host,load,rack\na,1.5,r1\nb,2,r2"sep=,"\nhost,load,rack\nc,3,r3\n',
        '"host","load","rack"\n"a","1.5","r1"\n"b","2",""host","load","rack"\n',
    ],
    ids=range(13),
)
def test_a_line_of_two_files_is_named(tmp_path, content):
    """``cat`` puts the header of a file behind the last line of one that has no newline at its end."""
    for optional in ((), ("rack",)):
        with pytest.raises(errors.UsageError, match="table.csv:3 ") as told:
            read(tmp_path, content, optional=optional)
        assert JOINED in str(told.value) or "cannot be read as CSV" in str(told.value)


def test_names_that_hold_the_names_of_columns_are_not_a_header(tmp_path):
    assert read(tmp_path, "host,load,rack\nload host,1,rack 1\n") == [("load host", 1.0, "rack 1")]


@pytest.mark.parametrize(
    "content, told",
    [
        (PLAIN + "c,3\n", "table.csv:4 has 2 fields and has not the 3 fields"),
        (PLAIN + "c,3,r3,r4\n", "table.csv:4 has 4 fields"),
        (PLAIN + "c,many,r3\n", "table.csv:4: load is 'many', wanted a number"),
        (PLAIN + "c,1,5,r3\n", "table.csv:4 has 4 fields"),
        ("host,load\na,1\n", "table.csv:1 has no column 'rack', wanted host, load, rack"),
        ("host,load,rack,Load\na,1,r,2\n", "table.csv:1 has 2 times the column 'load'"),
        (PLAIN + "host,load\nc,3\n", "table.csv:4 has 2 fields"),
        (PLAIN + '"c,3,r3\nd,4,r4\n', "table.csv:4 cannot be read as CSV"),
        (PLAIN.encode() + b"h\xe4,3,r3\n", "table.csv:4 is not text in UTF-8 .byte 0xe4.; save it as CSV UTF-8"),
        (PLAIN.encode() + (MARK + PLAIN).encode("utf-16-le"), "table.csv:4 is not text in UTF-8"),
        ("", "is empty, wanted the columns host, load, rack"),
        (MARK + "\n,,\n", "is empty"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "cannot be read"),
    ],
)
def test_what_is_told(tmp_path, content, told):
    with pytest.raises(errors.UsageError, match=told):
        read(tmp_path, content)


def test_empty_cells_at_the_end_may_be_left_out_of_optional_columns_only(tmp_path):
    assert read(tmp_path, "host,load,rack\na,1\n", optional=("rack",)) == [("a", 1.0, "")]
    with pytest.raises(errors.UsageError, match="table.csv:2 has 1 field "):
        read(tmp_path, "host,load,rack\na\n", optional=("rack",))


# --- the files of a play ----------------------------------------------------------------------------------------------

SERVERS = "host,numa0_cpus,numa0_ram_gb,numa1_cpus,numa1_ram_gb\nhost-0,16,32,32,64\nhost-1,34,68,36,72\n"
RACKS = "host,rack\nhost-0,0\nhost-1,0\n"
HEAD = "seq,vcpus,ram_gb,numa_nodes,policy,group,fault_domain\n"
REQUESTS = HEAD + "0,4,8,1,affinity,0,\n1,8,32,1,,,\n"
FILES = {"servers": SERVERS, "racks": RACKS, "requests": REQUESTS}


def read_huawei(tmp_path, **files):
    for name, text in {**FILES, **files}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return workload.huawei(*(str(tmp_path / f"{name}.csv") for name in FILES), 0)


def test_joined_traces_are_played_one_after_the_other(tmp_path):
    once, twice = read_huawei(tmp_path), read_huawei(tmp_path, requests=REQUESTS + REQUESTS)
    assert once.notes == [] and twice.requests[:2] == once.requests
    assert (
        [request.seq for request in twice.requests] == [0, 1, 2, 3] == [request.arrives for request in twice.requests]
    )
    assert len({request.instance_uuid for request in twice.requests}) == 4
    assert twice.requests[0].group != twice.requests[2].group, "each trace has groups of its own"
    assert len(twice.notes) == 1 and "requests.csv:5: another trace starts here" in twice.notes[0]
    assert "its requests are 2 to 3" in twice.notes[0]


@pytest.mark.parametrize("rest", ["", "0,4,8,1,,,\n", "0,4,8,1,affinity,0,0\n1,4,8,1,,,"])
@pytest.mark.parametrize("last", ["1,8,32,1,,,", "1,8,32,1", "1,8,32,1,,,rack"])
def test_a_trace_without_a_newline_at_its_end_loses_no_request(tmp_path, last, rest):
    with pytest.raises(errors.UsageError, match=f"requests.csv:3 {JOINED}"):
        read_huawei(tmp_path, requests=f"{HEAD}0,4,8,1,,,\n{last}{HEAD}{rest}")


def test_the_parts_of_one_trace_are_that_trace(tmp_path):
    whole = read_huawei(tmp_path, requests=HEAD + "0,4,8,1,affinity,0,\n1,4,8,1,affinity,0,\n")
    parts = read_huawei(tmp_path, requests=HEAD + "0,4,8,1,affinity,0,\n" + HEAD + "1,4,8,1,affinity,0,\n")
    assert parts.requests == whole.requests and parts.notes == []


@pytest.mark.parametrize(
    "name, text, told",
    [
        (
            "requests",
            REQUESTS + "1,8,32,1,,,\n",
            "requests.csv:4: the number 1 is there twice, first in .*requests.csv:3",
        ),
        ("requests", HEAD + "0,4,8,1,affinity\n", "requests.csv:2: group is empty"),
        ("requests", HEAD + "0,4,8\n", "requests.csv:2 has 3 fields and has not the 7 fields"),
        ("racks", RACKS + "host-1,1\n", "racks.csv:4: the host host-1 is in another rack"),
        ("racks", RACKS + ",1\n", "racks.csv:4: host is empty"),
        ("servers", SERVERS + SERVERS, "servers.csv:5: the host host-0 is there twice"),
    ],
)
def test_what_is_told_of_the_files_of_a_play(tmp_path, name, text, told):
    with pytest.raises(errors.UsageError, match=told):
        read_huawei(tmp_path, **{name: text})


def test_a_play_of_what_a_european_spreadsheet_wrote(tmp_path, capsys):
    """Semicolons, a mark, CR LF, and cells at the end left out; each request has its row, also of a joined file."""
    for name, text in {**FILES, "requests": REQUESTS + REQUESTS}.items():
        text = MARK + text.replace("1,,,", "1").replace(",", ";").replace("\n", "\r\n")
        (tmp_path / f"{name}.csv").write_bytes(text.encode())
    files = [f"--{name}={tmp_path}/{name}.csv" for name in FILES]
    assert (
        main(["play", *files, "--log", f"memory://{tmp_path.name}", "--no-picture", "--out", str(tmp_path / "out")])
        == 0
    )
    with open(tmp_path / "out" / "placements.csv", newline="") as file:
        assert [(row["seq"], row["outcome"]) for row in csv.DictReader(file)] == [
            (str(seq), "built") for seq in range(4)
        ]
    assert "another trace starts here" in capsys.readouterr().err


def test_a_trace_with_decimal_commas(tmp_path):
    (tmp_path / "trace.csv").write_text("VmId;Cores;RAM;StartTime;EndTime\n1;2;4,0;-0,5;0,25\n2;2;4;0,5;inf\n")
    found = workload.azure(str(tmp_path / "trace.csv"), 1, None, None, 0)
    assert [(request.arrives, request.departs) for request in found.requests] == [(0.0, 21600.0), (43200.0, None)]
