#!/usr/bin/env python3
"""Recomputes units sold, revenue and VAT from the UCI Online Retail file, with nothing but Python's own library.

It shares no code with Stockmesh: it reads the CSV by the rules that stand at the top of `sim/src/streams/uci.rs` and, given the JSON
report of a replay of the same file, fails when one figure differs. Given the books' postings.csv as well, it compares revenue and
VAT in the ledger, invoice by invoice: an invoice that was supplied in full must be booked to the penny.

    tests/recompute_uci.py FILE.csv[.gz] [--limit N] [--report REPORT.json] [--postings postings.csv]
"""

import argparse
import csv
import gzip
import json
import re
import sys
from collections import defaultdict
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

UNITED_KINGDOM = {"United Kingdom", "Unspecified"}


def vat_ppm(day: date) -> int:
    """Standard rate in the United Kingdom: 15 % until 2009, 17.5 % until 2011-01-03, then 20 %."""
    if day < date(2010, 1, 1):
        return 150_000
    return 175_000 if day < date(2011, 1, 4) else 200_000


def pence(amount: Decimal) -> int:
    return int((amount * 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def read(path: str):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", errors="replace", newline="") as lines:
        rows = csv.reader(lines)
        header = [name.replace(" ", "").lower() for name in next(rows)]
        names = ["invoiceno", "stockcode", "quantity", "invoicedate", "unitprice", "country"]
        other = {"invoiceno": "invoice", "unitprice": "price"}
        at = [header.index(name if name in header else other.get(name, name)) for name in names]
        for row in rows:
            if len(row) == len(header):
                yield [row[i].strip() for i in at]


def recompute(path: str, limit: int | None) -> dict:
    sales, day_of = set(), {}
    units = lines = net = 0
    taxable, tax = defaultdict(int), defaultdict(int)
    with_goods = set()
    by_invoice = defaultdict(lambda: [0, 0])
    for invoice, code, quantity, when, price, country in read(path):
        try:
            quantity, price = int(quantity), Decimal(price)
            day = date.fromisoformat(when[:10])
        except (ValueError, InvalidOperation):
            continue
        if not invoice.isdigit():
            continue
        if invoice not in sales:
            if limit is not None and len(sales) >= limit:
                break
            sales.add(invoice)
        code = code.upper()
        if not (re.match(r"[0-9]{5}", code) or code.startswith("DCGS")):
            continue
        if not re.fullmatch(r"[A-Z0-9][A-Z0-9._/-]{0,63}", code) or price <= 0 or quantity <= 0:
            continue
        # An invoice has one rate and one place: those of its first line that is taken.
        first = day_of.setdefault(invoice, (day, country))
        rate = vat_ppm(first[0]) if first[1] in UNITED_KINGDOM else 0
        amount = pence(quantity * price)
        with_goods.add(invoice)
        lines += 1
        units += quantity
        net += amount
        taxable[rate] += amount
        exact = Decimal(amount) * rate / 1_000_000
        line_tax = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
        tax[rate] += line_tax
        by_invoice[invoice][0] += amount
        by_invoice[invoice][1] += line_tax
    return {
        "invoices": len(with_goods),
        "lines": lines,
        "units": units,
        "net_minor": net,
        "taxable_minor_by_rate_ppm": {str(rate): taxable[rate] for rate in sorted(taxable)},
        "tax_minor_by_rate_ppm": {str(rate): tax[rate] for rate in sorted(tax)},
        "by_invoice": dict(by_invoice),
    }


def booked(path: str) -> dict:
    """Revenue and VAT of shipments in the ledger, by invoice (an order that was cut in parts counts under its invoice)."""
    books = defaultdict(lambda: [0, 0])
    with open(path, encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if not row["rule"].startswith("shipment.revenue/"):
                continue
            kind = 0 if row["account"].startswith("Income:Sales:") else 1 if row["account"].startswith("Liabilities:TaxPayable:") else None
            if kind is not None:
                amount = pence(Decimal(row["credit"] or 0) - Decimal(row["debit"] or 0))
                books[row["order"].split("-")[0]][kind] += amount
    return books


def compare_books(found: dict, books: dict) -> list[str]:
    wrong, full, missing = [], 0, 0
    for invoice, (net, tax) in found["by_invoice"].items():
        sales, vat = books.get(invoice, [0, 0])
        if sales == net:
            full += 1
            if vat != tax:
                wrong.append(f"invoice {invoice}: VAT {tax} in the file, {vat} in the books, at the same revenue of {net}")
        elif not 0 <= sales < net or not 0 <= vat <= tax:
            wrong.append(f"invoice {invoice}: {net} + {tax} in the file, {sales} + {vat} in the books")
        missing += net - sales
    wrong += [f"invoice {invoice} is in the books only" for invoice in books if invoice not in found["by_invoice"]]
    invoices = len(found["by_invoice"])
    print(f"books: {full} of {invoices} invoices supplied in full and equal to the penny; {missing} pence of the others were cancelled")
    if full * 2 < invoices:
        wrong.append("fewer than half of the invoices are in the books in full")
    return wrong


def reported(path: str) -> dict:
    """The same figures as a replay's JSON report gives them."""
    with open(path, encoding="utf-8") as file:
        stream = json.load(file)["stream"]
    taxable, tax = defaultdict(int), defaultdict(int)
    for line in stream["taxes"]:
        taxable[line["rate_ppm"]] += line["taxable_minor"]
        tax[line["rate_ppm"]] += line["tax_minor"]
    return {
        "lines": stream["lines"],
        "units": stream["units"],
        "net_minor": stream["net_minor"],
        "taxable_minor_by_rate_ppm": {str(rate): taxable[rate] for rate in sorted(taxable)},
        "tax_minor_by_rate_ppm": {str(rate): tax[rate] for rate in sorted(tax)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--limit", type=int, help="the replay's --limit: sale invoices to read")
    parser.add_argument("--report", help="JSON report of a replay of the same file with the same limit")
    parser.add_argument("--postings", help="postings.csv of that replay (its --export-dir)")
    options = parser.parse_args()
    found = recompute(options.file, options.limit)
    print(json.dumps({name: value for name, value in found.items() if name != "by_invoice"}, indent=2))
    wrong = []
    if options.report is not None:
        claimed = reported(options.report)
        wrong += [f"{name}: the file gives {found[name]}, the report says {claimed[name]}" for name in claimed if found[name] != claimed[name]]
    if options.postings is not None:
        wrong += compare_books(found, booked(options.postings))
    for line in wrong:
        print(f"DIFFERS {line}", file=sys.stderr)
    if not wrong and (options.report or options.postings):
        print("agrees: units, net revenue, taxable amounts and VAT by rate")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
