"""Prints every cell of prices.xlsx, formulas as such."""

from openpyxl import load_workbook

for sheet in load_workbook("prices.xlsx"):
    for row in sheet.iter_rows(values_only=True):
        print(f"{sheet.title}: " + " | ".join("" if value is None else str(value) for value in row))
