"""Three pairs of schemas as companies have them, with rows, and what each column stands for: the known answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

from trueup.model import ColumnInfo, ColumnType
from trueup.setup import words
from trueup.setup.joined import joined
from trueup.setup.kinds import column_of
from trueup.setup.samples import Sample

FIRST = ("Ann", "Ben", "Cléo", "Dora", "Eve", "Finn", "Gil", "Hal", "Ida", "Jo", "Kim", "Lea", "Mia", "Noor", "Olu", "Per")
LAST = ("Ash", "O'Neil", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple", "Oak", "Pine", "Rowan", "Willow", "Yew")
TOWNS = ("Sampleton", "Mockbury", "Trialford", "Testham")
ROWS = 120


@dataclass(frozen=True)
class Schemas:
    """Two objects, and the pairs of columns that hold the same."""

    left: Sample
    right: Sample
    answers: frozenset[tuple[str, str]]


def sample(system: str, name: str, key: str, types: Mapping[str, str], rows: list[dict[str, Any]], kind: str = "table") -> Sample:
    """An object with these rows."""
    columns = {
        column: column_of(
            ColumnInfo(name=column, type=cast("ColumnType", type_)), [None if row[column] is None else str(row[column]) for row in rows]
        )
        for column, type_ in types.items()
    }
    return Sample(system, name, kind, (key,), True, columns, len(rows), joined=joined(columns, words.about(name)))


def people(chance: random.Random) -> list[dict[str, Any]]:
    """Customers as they are."""
    made = []
    for number in range(ROWS):
        first, last = chance.choice(FIRST), chance.choice(LAST)
        made.append(
            {
                "first": first,
                "last": last,
                "email": f"{first}.{last}.{number}@example.org".replace("'", "").casefold(),
                "phone": f"01632 96{number:04}",
                "mobile": f"07700 90{number:04}",
                "town": chance.choice(TOWNS),
                "postcode": f"S{number % 40} {chance.randint(1, 9)}AB",
                "since": date(2015, 1, 1) + timedelta(days=chance.randrange(3000)),
                "credit": chance.randint(0, 50) * 100,
                "active": chance.random() < 0.8,
                "vat": f"GB{100_000_000 + number * 77}" if chance.random() < 0.7 else None,
            }
        )
    return made


def crm_and_accounting() -> Schemas:
    """A CRM's contacts and an accounting program's debtors, exported with its own headings."""
    chance = random.Random(1)
    known = people(chance)
    contacts = [
        {
            "id": number,
            "FirstName": it["first"],
            "LastName": it["last"],
            "EmailAddress": it["email"],
            "Phone": it["phone"],
            "MobilePhone": it["mobile"],
            "City": it["town"],
            "PostalCode": it["postcode"],
            "CustomerSince": it["since"],
            "CreditLimit": it["credit"],
            "IsActive": it["active"],
            "OwnerId": chance.randint(1, 5),
            "UpdatedAt": f"2026-0{chance.randint(1, 9)}-11T08:00:00Z",
            "LeadSource": chance.choice(("web", "fair", "phone")),
        }
        for number, it in enumerate(known[:100])
    ]
    debtors = [
        {
            "Account No.": f"D{10_000 + number}",
            "Given name": it["first"],
            "Surname": it["last"].upper() if number % 9 == 0 else it["last"],
            "E-Mail": it["email"].capitalize() if number % 5 == 0 else it["email"],
            "Tel.": "+44 " + it["phone"][1:],
            "Mobile no": it["mobile"].replace(" ", ""),
            "Town": it["town"],
            "Post code": it["postcode"] if number % 7 else None,
            "Since": f"{it['since']:%d/%m/%Y}",
            "Limit": f"{it['credit']}.00",
            "Enabled": "yes" if it["active"] else "no",
            "VAT ID": it["vat"],
            "Terms": chance.choice(("14", "30")),
            "Balance": f"{chance.randint(0, 900)}.{chance.randint(10, 99)}",
        }
        for number, it in enumerate(chance.sample(known, 100))
    ]
    left = sample("crm", "contacts", "id", dict.fromkeys(contacts[0], "text") | {"id": "integer", "CreditLimit": "integer"}, contacts)
    right = sample("accounting", "debtors", "Account No.", dict.fromkeys(debtors[0], "text"), debtors, "file")
    answers = {
        ("FirstName", "Given name"), ("LastName", "Surname"), ("EmailAddress", "E-Mail"), ("Phone", "Tel."), ("MobilePhone", "Mobile no"),
        ("City", "Town"), ("PostalCode", "Post code"), ("CustomerSince", "Since"), ("CreditLimit", "Limit"), ("IsActive", "Enabled"),
    }  # fmt: skip
    return Schemas(left, right, frozenset(answers))


def shop_and_warehouse() -> Schemas:
    """A shop's products and a warehouse's stock list, which share article numbers and little of their names."""
    chance = random.Random(2)
    goods: list[dict[str, Any]] = [
        {
            "sku": f"AB-{1000 + number}",
            "name": f"{chance.choice(('Oak', 'Pine', 'Steel'))} {chance.choice(('shelf', 'table', 'lamp'))} {number}",
            "price": f"{chance.randint(5, 300)}.{chance.choice(('00', '50', '90'))}",
            "cost": f"{chance.randint(2, 150)}.{chance.choice(('00', '25'))}",
            "stock": chance.randint(0, 60),
            "ean": f"40{12_345_600_000 + number * 7}",
            "weight": f"{chance.randint(1, 40)}.{chance.randint(1, 9)}",
            "brand": chance.choice(("Northwood", "Lumen", "Ferro")),
        }
        for number in range(ROWS)
    ]
    products = [
        {
            "product_id": number + 1,
            "sku": it["sku"],
            "title": it["name"],
            "price": it["price"],
            "stock_quantity": it["stock"],
            "barcode": it["ean"],
            "weight_kg": it["weight"],
            "vendor": it["brand"],
            "status": chance.choice(("active", "draft")),
            "created_at": "2025-01-01T00:00:00Z",
        }
        for number, it in enumerate(goods)
    ]
    items = [
        {
            "Item no": it["sku"],
            "Designation": it["name"],
            "Purchase price": it["cost"],
            "RRP": it["price"],
            "On hand": it["stock"] + (chance.randint(-2, 2) if number % 4 == 0 else 0),
            "GTIN": it["ean"],
            "Mass": it["weight"],
            "Manufacturer": it["brand"],
            "Shelf": f"R{number % 12}-{number % 7}",
            "Min": chance.randint(1, 9),
        }
        for number, it in enumerate(goods[20:])
    ]
    left = sample(
        "shop", "products", "product_id", dict.fromkeys(products[0], "text") | {"product_id": "integer", "price": "decimal"}, products
    )
    right = sample("warehouse", "Stock", "Item no", dict.fromkeys(items[0], "text"), items, "sheet")
    answers = {
        ("sku", "Item no"), ("title", "Designation"), ("price", "RRP"), ("stock_quantity", "On hand"), ("barcode", "GTIN"),
        ("weight_kg", "Mass"), ("vendor", "Manufacturer"),
    }  # fmt: skip
    return Schemas(left, right, frozenset(answers))


def staff_and_payroll() -> Schemas:
    """A staff list and a payroll's employees, half of whose rows cannot be found in the other one."""
    chance = random.Random(3)
    known = [
        {
            "number": f"P{number:04}",
            "first": chance.choice(FIRST),
            "last": chance.choice(LAST),
            "mail": f"staff{number}@example.com",
            "born": date(1960, 1, 1) + timedelta(days=chance.randrange(14_000)),
            "hired": date(2010, 1, 1) + timedelta(days=chance.randrange(5000)),
            "team": chance.choice(("Sales", "Workshop", "Office", "Delivery")),
            "job": chance.choice(("Clerk", "Driver", "Manager", "Fitter")),
            "hours": chance.choice((20, 30, 38, 40)),
            "pay": chance.randint(1800, 5200),
        }
        for number in range(ROWS)
    ]
    rota = [
        {
            "Personnel number": it["number"],
            "Name": f"{it['first']} {it['last']}",
            "Work e-mail": it["mail"],
            "Team": it["team"],
            "Role": it["job"],
            "Weekly hours": it["hours"],
            "Start date": f"{it['hired']:%d.%m.%Y}",
            "Shift": chance.choice(("early", "late")),
        }
        for it in known[:80]
    ]
    employees = [
        {
            "id": number,
            "emp_no": it["number"],
            "full_name": f"{it['first']} {it['last']}",
            "email": it["mail"],
            "dob": it["born"],
            "hire_date": it["hired"],
            "department": it["team"],
            "job_title": it["job"],
            "hours_per_week": it["hours"],
            "gross_pay": it["pay"],
            "iban": f"GB{number:020}",
        }
        for number, it in enumerate(known[40:])
    ]
    left = sample("rota", "Staff", "Personnel number", dict.fromkeys(rota[0], "text"), rota, "sheet")
    kinds = dict.fromkeys(employees[0], "text") | {
        "id": "integer",
        "dob": "date",
        "hire_date": "date",
        "gross_pay": "decimal",
    }
    right = sample("payroll", "employees", "id", kinds, employees)
    answers = {
        ("Personnel number", "emp_no"), ("Name", "full_name"), ("Work e-mail", "email"), ("Team", "department"), ("Role", "job_title"),
        ("Weekly hours", "hours_per_week"), ("Start date", "hire_date"),
    }  # fmt: skip
    return Schemas(left, right, frozenset(answers))


ALL = (crm_and_accounting, shop_and_warehouse, staff_and_payroll)
