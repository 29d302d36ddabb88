"""Makes shop.db and prices.xlsx, a price list with a head in row 2, formats, and a column of formulas."""

import sqlite3

from openpyxl import Workbook
from openpyxl.styles import Font

with sqlite3.connect("shop.db") as shop:
    shop.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, price NUMERIC, valid_from TEXT)")
    shop.execute("INSERT INTO products VALUES ('007', 24.90, '2026-01-01'), ('008', 89.00, '2026-01-01'), ('009', 12.50, NULL)")

book = Workbook()
sheet = book.worksheets[0]
sheet.title = "Prices"
sheet.append(["Price list"])
sheet.append(["SKU", "Price", "With tax", "Valid from"])
for row, (sku, price, day) in enumerate([("007", 24.90, "01.01.2026"), ("008", 95.00, "01.02.2026")], start=3):
    sheet.append([sku, price, f"=B{row}*1.2", day])
    sheet.cell(row, 2).number_format = "#,##0.00"
sheet["A1"].font = Font(bold=True, size=16)
book.create_sheet("Notes")["A1"] = "prices without tax"
book.save("prices.xlsx")
