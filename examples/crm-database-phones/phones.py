"""Stands for somebody's phone: add NAME EMAIL PHONE TOWN, set EMAIL phone|town|name VALUE, or list."""

import base64
import os
import re
import sys
import urllib.request
import uuid
from urllib.parse import urljoin

USER, PASSWORD = os.environ["CARDS_USER"], os.environ["CARDS_PASSWORD"]
LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BOOK = f"{os.environ['CARDS_URL']}/{USER}/team/"
KINDS = 'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"'
MADE = f"<D:mkcol {KINDS}><D:set><D:prop><D:resourcetype><D:collection/><C:addressbook/></D:resourcetype></D:prop></D:set></D:mkcol>"
WANTED = f"<C:addressbook-query {KINDS}><D:prop><C:address-data/></D:prop><C:filter/></C:addressbook-query>"
CARD = """BEGIN:VCARD
VERSION:3.0
UID:{uid}
FN:{0}
N:;;;;
EMAIL:{1}
TEL;TYPE=work:{2}
ADR;TYPE=work:;;;{3};;;
END:VCARD
"""


def ask(method, address, body="", **headers):
    headers = {"authorization": f"Basic {LOGIN}", **headers}
    with urllib.request.urlopen(urllib.request.Request(address, body.encode(), headers, method=method), timeout=30) as answer:
        return answer.read().decode()


def cards():
    """Address and text of each card."""
    found = re.findall(r"<href>([^<]*)</href>.*?address-data>([^<]*)</", ask("REPORT", BOOK, WANTED, depth="1"), re.DOTALL)
    return {urljoin(BOOK, href): card.replace("&#13;", "\r").replace("&amp;", "&") for href, card in found}


def of(card, start, part=0):
    said = re.search(rf"^{start}[^:\n]*:([^\r\n]*)", card, re.MULTILINE)
    return said[1].split(";")[part].replace("\\,", ",") if said else ""


def shown(card):
    return [of(card, "FN"), of(card, "EMAIL"), of(card, "TEL"), of(card, "ADR", 3)]


match sys.argv[1:]:
    case ["begin"]:
        ask("MKCOL", BOOK, MADE)
    case ["add", *words]:
        name = uuid.uuid4()
        ask("PUT", f"{BOOK}{name}.vcf", CARD.format(*words, uid=name).replace("\n", "\r\n"), **{"content-type": "text/vcard"})
    case ["set", email, field, value]:
        line, new = {"phone": ("TEL", value), "town": ("ADR", f";;;{value};;;"), "name": ("FN", value)}[field]
        for address, card in cards().items():
            if of(card, "EMAIL") == email:
                edited = re.sub(rf"^({line}[^:\n]*:)[^\r\n]*", lambda said: said[1] + new, card, flags=re.MULTILINE)
                ask("PUT", address, edited, **{"content-type": "text/vcard"})
    case ["list"]:
        for card in sorted(cards().values(), key=lambda card: of(card, "EMAIL")):
            print("|".join(shown(card)))
    case words:
        sys.exit(f"{words}? {__doc__}")
