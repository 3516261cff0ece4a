"""Bad inputs: files that are not what they should be, each with the error that a build has to give.

To see what is said of each, or of those of one kind, a line a case:

    python tests/bad_inputs.py ["official list"]
"""

import contextlib
import functools
import gzip
import io
import os
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path

import cv2
from bad_files import (
    BOMB,
    COLUMNS,
    COMMENT_LENGTH,
    END,
    FLAGS,
    FORMULA,
    GREY_ALPHA,
    LABELS,
    METHOD,
    MODE,
    NAME,
    NAME_LENGTH,
    NAMES,
    OFFSET,
    PACKED,
    PALETTE,
    RGB,
    RGBA,
    ROWS,
    SHADES,
    SIZE,
    SPARSE,
    SUM,
    TABLES,
    Case,
    archive,
    box,
    build_from_official_archive,
    bz2_of_zeros,
    chunk,
    empty_blocks,
    expert,
    flip,
    image,
    in_zip,
    lines,
    member,
    not_taken,
    official,
    png,
    read_release,
    rows_of,
    sparse,
    table,
    tar,
    tar_gz,
    tar_gz_of_links,
    with_cell,
    with_entry,
    with_filter,
    with_row,
    zeros,
    zip_bomb,
    zipped,
    zipped_as,
)

from nih_chest_xray.errors import CohortError, ReleaseError, TableError
from nih_chest_xray.tables.labels import OFFICIAL_HEADER
from nih_chest_xray.vocabulary import ALL_FINDINGS_FILE, BOX_FILE, EXPERT_FILES, FINDINGS, OFFICIAL_LISTS, READER_FILES

_IDAT = zlib.compress(rows_of(), 1)
_CUT = r"the PNG of [0-9]+ bytes is cut or corrupt \({}\); get this image again"
_WEB_PAGE = "is a web page, not an archive. The site refused the download; open its page in a browser"
_NOT_PLAIN = "is a folder, a pipe or a device. Expected a plain file: move it away and get the file again"

IMAGES = {
    "60,000 x 60,000": image(lambda: png(size=60_000), "the PNG has 60000 x 60000 pixels; expected the NIH's 1024"),
    "512 x 512": Case(
        ReleaseError,
        'images has 1 images with 512 pixels a side; the NIH\'s have 1024.*"allow_resized_images": true',
        lambda: {f"images/{NAME}": png(size=512)},
    ),
    "16 bits": image(lambda: png(depth=16), ".* 16 bits, .*; expected 8 bits"),
    "palette": image(
        lambda: png(PALETTE, extra=chunk(b"PLTE", bytes(range(256)) * 3)), ".* colour type 3 .*; expected .* grey"
    ),
    "RGB": image(lambda: png(RGB), ".* colour type 2 .*; expected .* grey"),
    "grey with alpha": image(lambda: png(GREY_ALPHA), ".* colour type 4 .*; expected .* grey"),
    "interlaced": image(lambda: png(interlace=1), ".* interlace method 1; expected .*not interlaced"),
    "a transparent grey": image(lambda: png(extra=chunk(b"tRNS", b"\0\5")), ".* transparent colour; expected a grey"),
    "RGBA of colours": image(lambda: png(RGBA, rows=b"\0\1" + rows_of(RGBA)[2:]), "the PNG holds colours"),
    "check sum of IHDR": image(lambda: flip(png(), 29), _CUT.format(".*check sum of its chunk b'IHDR' is wrong")),
    "check sum of IDAT": image(lambda: flip(png(), -14), _CUT.format(".*check sum of its chunk b'IDAT' is wrong")),
    "check sum of IEND": image(lambda: flip(png(), -1), _CUT.format(".*check sum of its chunk b'IEND' is wrong")),
    "critical chunk that PNG does not know": image(
        lambda: png(extra=chunk(b"ABCD", b"")), _CUT.format("its chunk b'ABCD' is critical and unknown")
    ),
    "two headers": image(lambda: png(extra=png()[8:33]), _CUT.format("its chunk b'IHDR' comes again")),
    "header of 14 bytes": image(
        lambda: png()[:8] + chunk(b"IHDR", png()[16:29] + b"\0") + png()[33:],
        r"not a PNG: .* and begins with b'\\x89PNG",
    ),
    "two palettes": image(
        lambda: png(extra=2 * chunk(b"PLTE", bytes(3))), _CUT.format("its chunk b'PLTE' comes again")
    ),
    "compression method": image(
        lambda: png(methods=(1, 0)), _CUT.format(r"compression and filter method are \[1, 0\]; PNG knows only \[0, 0\]")
    ),
    "filter method": image(
        lambda: png(methods=(0, 64)), _CUT.format(r"compression and filter method are \[0, 64\];.*")
    ),
    "chunk named with a digit": image(
        lambda: png(extra=chunk(b"te1t", b"")), _CUT.format("its chunk b'te1t' has a name that PNG does not allow")
    ),
    "chunk named with the reserved bit": image(
        lambda: png(extra=chunk(b"text", b"")), _CUT.format("its chunk b'text' has a name that PNG does not allow")
    ),
    "check sum of a chunk that could be left out": image(
        lambda: png(extra=flip(chunk(b"tIME", bytes(7)), 9)), _CUT.format("the check sum of its chunk b'tIME' is wrong")
    ),
    "a chunk among its pixels": image(
        lambda: png(idat=(_IDAT[:99], _IDAT[99:]), between=chunk(b"tIME", bytes(7))),
        _CUT.format("its chunk b'IDAT' comes again"),
    ),
    "several frames": image(
        lambda: png(extra=chunk(b"acTL", b"\0\0\0\2\0\0\0\0")), "the PNG has several frames; expected a grey radiograph"
    ),
    "several frames in RGBA": image(
        lambda: png(RGBA, extra=chunk(b"acTL", b"\0\0\0\2\0\0\0\0")), "the PNG has several frames; expected a grey"
    ),
    "bytes in its end": image(
        lambda: png()[:-12] + chunk(b"IEND", b"ab"), _CUT.format("2 bytes in or behind its end, IEND")
    ),
    "bytes behind its end": image(lambda: png() + b"abc", _CUT.format("3 bytes in or behind its end, IEND")),
    "bytes behind its pixels": image(
        lambda: png(idat=_IDAT + b"abc"), _CUT.format("3 bytes behind the end of its pixels")
    ),
    "an IDAT behind its pixels": image(
        lambda: png(idat=(_IDAT, b"abc")), _CUT.format("3 bytes behind the end of its pixels")
    ),
    "zlib window of 64 KB": image(
        lambda: png(idat=b"\x88\x1c" + _IDAT[2:]), _CUT.format("zlib's method 8 and window 65536; .*")
    ),
    "zlib window smaller than it needs": image(
        lambda: png(idat=b"\x08\x1d" + _IDAT[2:]), _CUT.format("zlib's method 8 and window 256; expected 8 and 32768")
    ),
    "zlib dictionary": image(lambda: png(idat=b"\x78\x20" + _IDAT[2:]), _CUT.format("Error 2 .*")),
    "codes that zlib does not take": image(
        lambda: png(idat=_IDAT[:2] + empty_blocks(2) + _IDAT[2:]), _CUT.format("Error .* set")
    ),
    "a row too many": image(lambda: png(rows=rows_of() + bytes(1025)), _CUT.format(".* bytes of pixels; expected .*")),
    "a row too few": image(lambda: png(rows=rows_of()[1025:]), _CUT.format("1048575 bytes of pixels; expected .*")),
    "a bomb in IDAT": image(lambda: png(idat=zeros(15)), _CUT.format("1049601 bytes of pixels; expected 1049600")),
    "IDAT not deflated": image(lambda: png(idat=b"no zlib stream"), _CUT.format(".+")),
    "IDAT cut": image(lambda: png(idat=zlib.compress(rows_of())[:-9]), _CUT.format(".* bytes of pixels; .*")),
    "sum of pixels": image(lambda: png(idat=flip(zlib.compress(rows_of()), -1)), _CUT.format(".+")),
    "no IDAT": image(lambda: png()[:33] + chunk(b"IEND", b""), _CUT.format("0 bytes of pixels; expected 1049600")),
    "cut": image(lambda: png()[:5000], _CUT.format("it ends within a chunk")),
    "a chunk of 4 GB": image(lambda: png(extra=b"\xff\xff\xff\xfftEXt"), _CUT.format("it ends within a chunk")),
    "unknown filter": image(lambda: png(rows=with_filter(rows_of(), 5)), _CUT.format("row 0 has a filter that .*")),
    "unknown filter in RGBA": image(
        lambda: png(RGBA, rows=with_filter(rows_of(RGBA), 9)), _CUT.format("row 0 has a filter that .*")
    ),
    "RGBA, damaged": image(lambda: flip(png(RGBA), 3000), _CUT.format(".*check sum of its chunk b'IDAT' is wrong")),
    "JPEG": image(
        lambda: cv2.imencode(".jpg", SHADES)[1].tobytes(),
        'images has 1 images with 1024 pixels a side.*"allow_resized_images": true',
        ReleaseError,
    ),
    "text": image(lambda: b"404: not found", "not a PNG: it has 14 bytes and begins with b'404: not found'"),
    "empty": image(lambda: b"", "not a PNG: it has 0 bytes .*; get this image again"),
    "a folder": image(lambda: Path.mkdir, rf"{NAME} {_NOT_PLAIN}", ReleaseError),
    "a pipe": image(lambda: os.mkfifo, rf"{NAME} {_NOT_PLAIN}", ReleaseError),
    "a device": image(lambda: lambda path: path.symlink_to("/dev/zero"), rf"{NAME} {_NOT_PLAIN}", ReleaseError),
    "a link to nothing": image(
        lambda: lambda path: path.symlink_to("nowhere"), rf"{NAME} cannot be read \(No such.*Expected", ReleaseError
    ),
    "a file of 8 GB": image(
        lambda: lambda path: path.touch() or os.truncate(path, 8 << 30),
        rf"{NAME} has 8,589,934,592 bytes, .*has less than .*: delete it and get it again",
        ReleaseError,
    ),
}

_LARGE = "bytes, or claims to; an image or table of the release has less than .*delete it and get it again"
ARCHIVES = {
    "cut in its gzip header": archive(lambda: tar_gz()[:5]),
    "cut in an image": archive(lambda: tar_gz()[:3000]),
    "cut by a half": archive(lambda: tar_gz()[: len(tar_gz()) // 2]),
    "cut in its check sum": archive(lambda: tar_gz()[:-5]),
    "cut by a byte": archive(lambda: tar_gz()[:-1]),
    "check sum wrong": archive(lambda: flip(tar_gz(), -8)),
    "length wrong": archive(lambda: flip(tar_gz(), -4)),
    "a pipe": Case(ReleaseError, f"images_01.tar.gz {_NOT_PLAIN}", lambda: {"images_01.tar.gz": os.mkfifo}),
    "web page": Case(ReleaseError, f"images_01.tar.gz {_WEB_PAGE}", lambda: {"images_01.tar.gz": b"<html>Sign in"}),
    "empty": archive(lambda: b""),
    "tar that is not compressed": archive(tar),
    "a byte flipped at its beginning": archive(lambda: flip(tar_gz(), 0)),
    "gzip of nothing": archive(lambda: gzip.compress(b"")),
    "gzip of a text": archive(lambda: gzip.compress(b"text " * 500)),
    "something behind its end": archive(lambda: tar_gz() + b"<html>"),
    "tar cut before it was zipped": archive(lambda: tar_gz(tar()[:-1024]), "the tar in it ends too early"),
    "damaged header in the midst": archive(
        lambda: tar_gz(member("a.txt") + flip(member(NAME, png()), 150) + END), "a member's header in it: bad checksum"
    ),
    "long name of 160 MB": archive(
        lambda: zeros(31, member("a", kind=tarfile.GNUTYPE_LONGNAME, size=BOMB << 20)), "a member's header in .* bytes"
    ),
    "fields of 160 MB": archive(
        lambda: zeros(31, member("a", kind=tarfile.XHDTYPE, size=BOMB << 20)), "a member's header in .* bytes"
    ),
    "3,000 headers in a row": archive(
        lambda: tar_gz(member("a", b"b\0", tarfile.GNUTYPE_LONGNAME) * 3000 + tar()), "maximum recursion depth .*"
    ),
    "sparse member": archive(lambda: tar_gz(member("a", kind=tarfile.GNUTYPE_SPARSE) + tar()), "a sparse member in it"),
    **{
        f"sparse member of version {version}": archive(
            lambda version=version: tar_gz(sparse(version, b"1\n0\n512\n".ljust(512, b"\0")) + tar()),
            "a sparse member in it",
        )
        for version in SPARSE
    },
    "sparse member with 160 MB of holes": archive(
        lambda: zeros(31, sparse("1.0", b"99999999\n"), b"0\n" * (1 << 19)), "a sparse member in it"
    ),
    "claims a terabyte": Case(
        ReleaseError,
        rf"images_01.tar.gz, member images/{NAME} has 1,099,511,627,776 {_LARGE}",
        lambda: {"images_01.tar.gz": tar_gz(member(NAME, b"", size=1 << 40) + END)},
    ),
    "bomb": Case(
        ReleaseError,
        rf"images_01.tar.gz, member images/{NAME} has 167,772,160 {_LARGE}",
        lambda: {"images_01.tar.gz": zeros(31, member(NAME, size=BOMB << 20))},
    ),
    "other member claims a terabyte": archive(
        lambda: tar_gz(member("a", b"", size=1 << 40) + tar()), "the tar in it ends too early"
    ),
    "not the NIH's": Case(
        ReleaseError,
        r"images_001.tar.gz has [0-9,]+ bytes; the NIH's images_001.tar.gz has .*get it again from the NIH's page",
        lambda: {"images_001.tar.gz": tar_gz()},
        functools.partial(read_release, own=False),
    ),
    "number that the NIH has not": Case(
        ReleaseError,
        "images_13.tar.gz is not one of the NIH's twelve archives.*get it again from the NIH's page",
        lambda: {"images_13.tar.gz": tar_gz()},
        functools.partial(read_release, own=False),
    ),
    "link to nothing": Case(
        ReleaseError,
        r"images_01.tar.gz cannot be read \(No such file.*\)\. Expected a file or folder that exists",
        lambda: {"images_01.tar.gz": lambda path: path.symlink_to("nowhere")},
    ),
    "folder among its images, and no more": archive(lambda: tar_gz(member(NAME, kind=tarfile.DIRTYPE)), ".*too early"),
    "images as links and devices": Case(
        ReleaseError,
        rf"5 images that this config needs were not in the archives of .*\({NAME}, .*\)\. Get them again from the NIH",
        lambda: {"images_001.tar.gz": tar_gz_of_links()},
        build_from_official_archive,
    ),
}

_ZIP = r"archive\.zip"
_OTHER_METHOD = rf"archive.zip, member images/{NAME} is packed by method {{}}; expected .* deflated\. Get the zip again"
ZIPS = {
    "cut": in_zip(lambda: zipped()[:-100], place=_ZIP),
    "a pipe": Case(ReleaseError, f"archive.zip {_NOT_PLAIN}", lambda: {"archive.zip": os.mkfifo}),
    "web page": Case(ReleaseError, f"archive.zip {_WEB_PAGE}", lambda: {"archive.zip": b"<html>Sign in"}),
    "empty": in_zip(lambda: b"", place=_ZIP),
    "of a version from the future": in_zip(lambda: with_entry(zipped(), ((6, "<H"), 99)), "zip file version 9.9", _ZIP),
    **{
        f"a name that {what}": in_zip(
            lambda name=name: zipped_as(name), "a member's name in it is empty or holds NUL", _ZIP
        )
        for what, name in {
            "begins with NUL": b"\0mages/" + NAME.encode(),
            "is an image's before a NUL": NAME.encode() + b"\0a.html",
        }.items()
    },
    "no name": in_zip(
        lambda: with_entry(zipped(), (NAME_LENGTH, 0), (COMMENT_LENGTH, len(f"images/{NAME}"))),
        "a member's name in it is empty or holds NUL",
        _ZIP,
    ),
    "encrypted": Case(
        ReleaseError,
        rf"archive.zip, member images/{NAME} is encrypted; expected .* Unpack it into a folder",
        lambda: {"archive.zip": with_entry(zipped(), (FLAGS, 1))},
    ),
    "check sum wrong": in_zip(lambda: with_entry(zipped(), (SUM, 1)), "Bad CRC-32 .*"),
    "entry that points behind the file": in_zip(lambda: with_entry(zipped(), (OFFSET, 1 << 31)), ".+"),
    "two entries for one place": in_zip(
        lambda: with_entry(zipped({"images/other.png": png(), f"images/{NAME}": png()}), (OFFSET, 0)),
        ".*File name in directory .* and header .* differ.*|Overlapped entries.*",
    ),
    "image cut in it": in_zip(lambda: with_entry(zipped(), (PACKED, 100)), ".+"),
    "deflated badly": in_zip(lambda: with_entry(zipped(), (METHOD, zipfile.ZIP_DEFLATED)), ".+"),
    "claims four gigabytes": Case(
        ReleaseError,
        rf"archive.zip, member images/{NAME} has 4,294,967,294 {_LARGE}",
        lambda: {"archive.zip": with_entry(zipped(), (SIZE, 0xFFFFFFFE))},
    ),
    "bomb": Case(
        ReleaseError,
        rf"archive.zip, member images/{NAME} has 167,772,160 {_LARGE}",
        lambda: {"archive.zip": zip_bomb(lambda: zeros(-15), zipfile.ZIP_DEFLATED, BOMB << 20)},
    ),
    "bomb that claims 1,000 bytes": in_zip(
        lambda: zip_bomb(lambda: zeros(-15), zipfile.ZIP_DEFLATED, 1000), "Bad CRC-32 .*"
    ),
    "bomb by bzip2": Case(
        ReleaseError,
        _OTHER_METHOD.format(12),
        lambda: {"archive.zip": zip_bomb(bz2_of_zeros, zipfile.ZIP_BZIP2, 1000)},
    ),
    "packed by a method that Python lacks": Case(
        ReleaseError, _OTHER_METHOD.format(97), lambda: {"archive.zip": with_entry(zipped(), (METHOD, 97))}
    ),
    "image as a link": Case(
        ReleaseError,
        rf"1 of the 1 images that this config needs are not in .* \({NAME}\)\..* put the missing images there",
        lambda: {"archive.zip": with_entry(zipped({f"images/{NAME}": b"/etc/hostname"}), (MODE, 0o120777 << 16))},
        functools.partial(read_release, own=False),
    ),
    "table damaged in it": Case(
        ReleaseError,
        rf"archive.zip, member nih/{LABELS} is cut or corrupt \(Bad CRC-32 .*\)\. Delete it and get it again",
        lambda: {LABELS: None, "archive.zip": with_entry(zipped({f"nih/{LABELS}": TABLES[LABELS]}), (SUM, 1))},
    ),
}


# Tables.

_AGAIN = r"Download it again"
_GET_AGAIN = "[Dd]elete it and get it again"
LABEL_FILES = {
    "a pipe": Case(ReleaseError, f"{LABELS} {_NOT_PLAIN}", lambda: {LABELS: os.mkfifo}),
    "web page": table(
        b"<!DOCTYPE html><html>Sign in</html>", " is a web page, not a table.*open its page in a browser"
    ),
    "empty": table(b"", f" is empty. {_AGAIN}"),
    "header alone": table(lines(OFFICIAL_HEADER), f" has a header but no rows. {_AGAIN}"),
    "a PNG": table(b"\x89PNG\r\n\x1a\n" + bytes(500), rf", row 1: not text in UTF-8 .*{_AGAIN}"),
    "UTF-16": table(TABLES[LABELS].decode().encode("utf-16"), f", row 1: not text in UTF-8 .*{_AGAIN}"),
    "Latin-1": table(with_cell(1, "Ödem").decode().encode("latin-1"), f", row 3: not text in UTF-8 .*{_AGAIN}"),
    "zeros": table(bytes(5000), " has 0 columns for image_name; expected one. The official header"),
    "NUL in a cell": table(with_cell(5, "F\0"), r", row 3: patient_sex is 'F\\x00' .*expected F or M"),
    "newline in a cell": table(with_cell(1, '"Nodule\nMass"'), r", row 3: findings is 'Nodule\\nMass' .*expected"),
    "unclosed quote": table(with_cell(1, '"Nodule'), rf", row 31: not CSV since a quote in row 3 .*{_AGAIN}"),
    "unclosed quote before 200 KB": table(
        with_cell(1, '"' + "x\n" * 100_000), f", row 65539: not CSV since a quote in row 3 .*limit.*{_AGAIN}"
    ),
    "cell of 200 KB": table(with_cell(1, "x" * 200_000), rf", row 3: not CSV .*limit.*{_AGAIN}"),
    "cell of 100 KB": table(with_cell(1, "x" * 100_000), ", row 3: findings is 'x{80}' .*expected 'No Finding' alone"),
    **{
        f"formula for {column}": table(with_cell(i, FORMULA), rf", row 3: {column} is \"=cmd.*expected")
        for i, column in enumerate(COLUMNS)
    },
    "huge width": table(with_cell(7, "9" * 5000), ", row 3: original_width is '9+' .*expected a whole number"),
    "huge spacing": table(with_cell(9, "1e400"), ", row 3: pixel_spacing_x is '1e400' .*expected a number of mm"),
    "spacing with an underscore": table(with_cell(9, "0.1_4"), ", row 3: pixel_spacing_x is '0.1_4' .*expected"),
    "negative follow-up": table(
        with_cell(2, "-1"), ", row 3: follow_up is '-1' .*expected a whole number of at least 0"
    ),
    "negative age": table(with_cell(4, "-5"), ", row 3: patient_age is '-5' .*expected an age such as 58"),
    "unknown sex": table(with_cell(5, "X"), ", row 3: patient_sex is 'X' .*expected F or M"),
    "unknown view": table(with_cell(6, "LL"), ", row 3: view_position is 'LL' .*expected PA or AP"),
    "unknown finding": table(with_cell(1, "Nodule|Tumour"), r", row 3: findings is 'Nodule\|Tumour' .*joined by \|"),
    "finding and No Finding": table(
        with_cell(1, "Mass|No Finding"), r", row 3: findings is .*expected 'No Finding' alone"
    ),
    "no finding at all": table(with_cell(1, ""), ", row 3: findings is '' .*expected 'No Finding' alone, or findings"),
    "row twice": table(with_row(ROWS[0]), f", row 3: image_name is '{NAME}' .*each image once; .*earlier row"),
    "patient of another image": table(with_cell(3, "7"), ", row 3: patient_id is '7' .*expected the number that"),
    "image name with a path": table(
        with_cell(0, f"../{NAME}"), rf", row 3: image_name is '../{NAME}' .*a name such as"
    ),
    "image name in other digits": table(with_cell(0, "0000000２_000.png"), ", row 3: image_name is .*a name such as"),
    "column missing": table(
        TABLES[LABELS].replace(b"View Position", b"View"), " has 0 columns for view_position; .*official"
    ),
    "column twice": table(
        TABLES[LABELS].replace(b"View Position", b"Patient Sex"), " has 2 columns for patient_sex; exp"
    ),
    "cell too few": table(
        with_row(ROWS[1].rsplit(",", 1)[0]),
        ", row 3: 10 cells; expected 11, as in the header",
    ),
    "cell too many": table(with_row(ROWS[1] + ",x"), ", row 3: 12 cells; expected 11, as in the header"),
    "one-hot columns only": table(
        TABLES[LABELS].replace(b"Finding Labels", b"Nodule"), " has 0 columns for findings; .*official"
    ),
    "findings joined by a comma": table(
        with_cell(1, '"Nodule,Mass"'), ", row 3: findings is 'Nodule,Mass' .*joined by"
    ),
    "images of another data set": table(
        TABLES[LABELS].replace(b"_000.png", b"_000.dcm"), ", row 2: image_name is .* 29 more such rows"
    ),
    "gzip, cut": table(gzip.compress(TABLES[LABELS])[:-3], rf" is cut or corrupt \(.*\)\. .*{_GET_AGAIN}"),
    "gzip, damaged": table(flip(gzip.compress(TABLES[LABELS]), 300), rf" is cut or corrupt \(.*\)\. .*{_GET_AGAIN}"),
    "gzip, a bomb": table(zeros(31), f" unpacks to more than 33,554,432 bytes.*{_GET_AGAIN}"),
    "gzip of a web page": table(gzip.compress(b"<html>"), " is a web page, not a table.*open its page in a browser"),
    "row cut": table(TABLES[LABELS][:-30], ", row 31: [0-9]+ cells; expected 11, as in the header"),
}

BOX_LISTS = {
    "web page": table(b"<html>", " is a web page.*open its page", BOX_FILE),
    "left of the image": box(f"{NAME},Mass,-3,1,5,5,,,", "x is '-3' .*expected pixels from 0 to 1024"),
    "right of the image": box(f"{NAME},Mass,1000,1,50,5,,,", "width is '50' .*expected a box that ends at the image's"),
    "NaN": box(f"{NAME},Mass,1,1,nan,5,,,", "width is 'nan' .*expected pixels above 0"),
    "infinite": box(f"{NAME},Mass,1,1,5,inf,,,", "height is 'inf' .*expected pixels above 0"),
    "formula": box(f"{NAME},Mass,1,{FORMULA},5,5,,,", 'y is "=cmd.*expected pixels from 0'),
    "unknown finding": box(f"{NAME},Tumour,1,1,5,5,,,", "finding is 'Tumour' .*expected one of Atelectasis"),
    "corners, not a size": table(
        lines("Image Index,Finding Label,xmin,ymin,xmax,ymax", f"{NAME},Mass,1,1,5,5"),
        " has 0 columns for x;",
        BOX_FILE,
    ),
    "empty box": box(f"{NAME},Mass,1,1,0,5,,,", "width is '0' .*expected pixels above 0"),
}

_IN_LIST = "expected one image name such as 00000013_005.png, .*download the list again"
LISTS = {
    "formula": official(lines(*NAMES[:8], FORMULA), f', line 9: "=cmd.*; {_IN_LIST}'),
    "path": official(lines(f"images/{NAME}"), f", line 1: 'images/{NAME}'; {_IN_LIST}"),
    "two names on a line": official(lines(NAME, f"{NAMES[1]},{NAMES[2]}"), f", line 2: '{NAMES[1]}.*; {_IN_LIST}"),
    "bytes": official(bytes(range(128, 256)), f", line 1: .*; {_IN_LIST}"),
    "comments alone": official(b"# none yet", " holds no image name, .*Download the list again"),
    "empty": official(b"\n", f" is empty. {_AGAIN}"),
    "web page": official(b"<html>", " is a web page.*open its page"),
    "gzip, a bomb": official(zeros(31), f" unpacks to more than .*{_GET_AGAIN}"),
    "image in both": Case(
        CohortError,
        rf"1 images, such as {NAMES[9]}, are in both of train_val_list.txt and test_list.txt; .*Download the two",
        lambda: {OFFICIAL_LISTS["test"]: lines(*NAMES[:8], NAMES[9])},
        functools.partial(read_release, split="official"),
    ),
}

_FOURTEEN = ",".join(FINDINGS).replace("_", " ")
ALL_FINDINGS = lines(
    f"Image ID,Patient ID,Abnormal,{_FOURTEEN},Other", *(f"{name},1,NO,YES{',NO' * 14}" for name in NAMES[6:8])
)
ALL_READINGS = lines(f"Image ID,Patient ID,Reader ID,Abnormal,{_FOURTEEN},Other", f"{NAMES[6]},7,4,1,YES{',NO' * 14}")
READINGS = lines(
    "Patient ID,Image ID,Reader ID,Fracture,Pneumothorax,Airspace opacity,Nodule/mass,Set ID",
    f"7,{NAMES[6]},4,NO,NO,NO,YES,test",
    f"7,{NAMES[6]},5,NO,NO,NO,HEDGE,test",
)
EXPERTS = {
    "neither YES nor NO": expert("NO,YES", "NO,MAYBE", ", row 2: Nodule or mass is 'MAYBE' .*expected YES or NO"),
    "formula": expert("NO,YES", f"NO,{FORMULA}", ', row 2: Nodule or mass is "=cmd.*expected YES or NO'),
    "column missing": not_taken(
        TABLES[EXPERT_FILES["test"]].replace(b"Nodule or mass", b"Mass"),
        " is not the radiologists' file of four findings, by its header",
        EXPERT_FILES["test"],
        "expert",
    ),
    "image in both files": expert(
        NAMES[6], NAME, f", row 2: image_name is '{NAME}' .*not in .*validation_labels.csv too"
    ),
    "patient in both files": expert(
        NAMES[6], NAME.replace("_000", "_001"), ", row 2: .*expected an image of a patient"
    ),
    "image twice": expert(NAMES[7], NAMES[6], ", row 3: image_name is .*expected each image once"),
    "file of all findings": Case(
        ReleaseError,
        rf"^test_labels.csv: not found in .*{EXPERT_FILES['test']} is the file of all findings, by its header",
        lambda: {EXPERT_FILES["test"]: ALL_FINDINGS},
        functools.partial(read_release, split="expert"),
    ),
    "all findings, neither YES nor NO": table(
        ALL_FINDINGS.replace(b"1,NO,YES", b"1,NO,HEDGE"),
        ", row 2: Atelectasis is 'HEDGE' .*expected YES or NO",
        ALL_FINDINGS_FILE,
        "expert",
    ),
    "all findings, a column missing": table(
        ALL_FINDINGS.replace(b"Hernia", b"Hernias"), " has 0 columns for Hernia", ALL_FINDINGS_FILE, "expert"
    ),
    "all findings, image twice": table(
        ALL_FINDINGS.replace(NAMES[7].encode(), NAMES[6].encode()),
        ", row 3: .*each image once",
        ALL_FINDINGS_FILE,
        "expert",
    ),
    "reader, another answer": table(
        READINGS.replace(b"HEDGE", b"PERHAPS"),
        ", row 3: Nodule or mass is 'PERHAPS' .*expected YES, NO or HEDGE",
        READER_FILES["four"],
        "expert",
    ),
    "reader, another set": table(
        READINGS.replace(b"YES,test", b"YES,train"),
        ", row 2: set_id is 'train' .*or test",
        READER_FILES["four"],
        "expert",
    ),
    "reader, no image": table(
        READINGS.replace(NAMES[6].encode(), b"one"), ", row 2: image_name is 'one'", READER_FILES["four"], "expert"
    ),
    "reader of all findings, formula": table(
        ALL_READINGS.replace(b"1,YES", b"1,=1", 1), ", row 2: Atelectasis is '=1'", READER_FILES["all"], "expert"
    ),
    "unknown image": Case(
        TableError,
        "1 images of the radiologists' files, such as 00000099_000.png, are not in the label file. Use the NIH's whole",
        lambda: {EXPERT_FILES["test"]: TABLES[EXPERT_FILES["test"]].replace(NAMES[6].encode(), b"00000099_000.png")},
        functools.partial(read_release, split="expert"),
    ),
}


CASES = {
    f"{kind}: {name}": case
    for kind, cases in {
        "image": IMAGES,
        "tar.gz": ARCHIVES,
        "zip": ZIPS,
        "label file": LABEL_FILES,
        "box list": BOX_LISTS,
        "official list": LISTS,
        "radiologists' file": EXPERTS,
    }.items()
    for name, case in cases.items()
}


def main() -> None:
    """Prints each case whose name begins as is said, and what is said of it."""
    warnings.simplefilter("ignore")
    kind = "".join(sys.argv[1:])
    for name, case in CASES.items():
        if not name.startswith(kind):
            continue
        with tempfile.TemporaryDirectory() as folder:
            case.write(Path(folder))
            said = "NO ERROR"
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    case.read(Path(folder))
            except Exception as error:
                said = f"{type(error).__name__}: {' '.join(str(error).split())}".replace(f"{folder}/", "")
        print(f"{name}: {said}", flush=True)


if __name__ == "__main__":
    main()
