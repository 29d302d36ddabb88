"""Stands for somebody who works in the CRM: add NAME EMAIL PHONE TOWN, set EMAIL FIELD VALUE, delete EMAIL, or list."""

import base64
import json
import os
import sys
import urllib.request
from urllib.parse import quote

LOGIN = base64.b64encode(f"office:{os.environ['CRM_PASSWORD']}".encode()).decode()
BUCKET = f"{os.environ['CRM_URL']}/v1/buckets/company"
RECORDS = f"{BUCKET}/collections/contacts/records"


def ask(method, address, data=None):
    request = urllib.request.Request(address, method=method, headers={"authorization": f"Basic {LOGIN}"})
    if data is not None:
        request.add_header("content-type", "application/json")
        request.data = json.dumps({"data": data}).encode()
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def key_of(email):
    return ask("GET", f"{RECORDS}?email={quote(json.dumps(email))}")[0]["id"]


match sys.argv[1:]:
    case ["begin"]:
        ask("PUT", BUCKET, {})
        ask("PUT", f"{BUCKET}/collections/contacts", {})
    case ["add", name, email, phone, town]:
        ask("POST", RECORDS, {"name": name, "email": email, "phone": phone, "town": town})
    case ["set", email, field, value]:
        ask("PATCH", f"{RECORDS}/{key_of(email)}", {field: value})
    case ["delete", email]:
        ask("DELETE", f"{RECORDS}/{key_of(email)}")
    case ["list"]:
        for record in ask("GET", f"{RECORDS}?_sort=email"):
            print("|".join(str(record.get(name) or "") for name in ("name", "email", "phone", "town")))
    case words:
        sys.exit(f"{words}? {__doc__}")
