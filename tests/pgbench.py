#!/usr/bin/env python3
"""Measures PostgreSQL doing what `PlaceOrder` does, on the same machine, and prints the ratio.

A PL/pgSQL function takes an order of two lines, sources it from the cheapest node that has both lines (else each line from
the cheapest node that has it), takes the stock, and writes order, lines and allocations, in one transaction: durable when it
answers (synchronous_commit = on). One server without replicas: PostgreSQL is spared what three replicas cost.

  tests/pgbench.py                                  PostgreSQL alone
  tests/pgbench.py --stockmesh bench.json           ... and its ratio to `stockmesh-sim bench --json bench.json`

It needs the packages postgresql and postgresql-contrib (pgbench); it makes a cluster of its own in a temporary folder on a
Unix socket, and removes it. Exit status: 0 measured, 1 failed, 77 PostgreSQL is not installed.
"""

import argparse
import getpass
import glob
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

SCHEMA = """
create table nodes (node int primary key, handling int not null, per_unit int not null, lat float8 not null,
                    lon float8 not null);
create table stock (item int, node int, free int not null, primary key (item, node)) with (fillfactor = 50);
create table orders (id text primary key, lat float8, lon float8, placed timestamptz default now());
create table lines (id text, line int, item int, quantity int, primary key (id, line));
create table allocations (id text, line int, node int, quantity int, primary key (id, line, node));
insert into nodes select n, 80 + (random() * 119)::int, 5 + (random() * 19)::int, 50 + random() * 8, -5 + random() * 6
  from generate_series(0, {nodes} - 1) n;
insert into stock select i, n, 1000000000 from generate_series(1, {items}) i, generate_series(0, {nodes} - 1) n;

create function place(o text, la float8, lo float8, i1 int, q1 int, i2 int, q2 int) returns int language plpgsql as $$
declare
  best int;
  other int;
  a int;
  qa int;
  b int;
  qb int;
begin
  -- In one order of items, so that no two orders wait for each other.
  if i1 <= i2 then a := i1; qa := q1; b := i2; qb := q2; else a := i2; qa := q2; b := i1; qb := q1; end if;
  insert into orders (id, lat, lon) values (o, la, lo);
  insert into lines values (o, 1, a, qa), (o, 2, b, qb);
  select n.node into best
    from nodes n join stock s on s.node = n.node and s.item = a and s.free >= qa
                 join stock t on t.node = n.node and t.item = b and t.free >= qb
   order by n.handling + 250 + 40 * ceil((qa + qb) * 0.25) + n.per_unit * (qa + qb)
            + (qa + qb) * 0.25 * 60 * 6.371 * sqrt(power(radians(n.lat - la), 2)
                                                   + power(radians(n.lon - lo) * cos(radians(la)), 2))
   limit 1;
  other := best;
  if best is null then
    select n.node into best from nodes n join stock s on s.node = n.node and s.item = a and s.free >= qa
     order by n.handling limit 1;
    select n.node into other from nodes n join stock s on s.node = n.node and s.item = b and s.free >= qb
     order by n.handling limit 1;
  end if;
  update stock set free = free - qa where item = a and node = best and free >= qa;
  if not found then raise exception 'taken'; end if;
  update stock set free = free - qb where item = b and node = other and free >= qb;
  if not found then raise exception 'taken'; end if;
  insert into allocations values (o, 1, best, qa), (o, 2, other, qb);
  return best;
end $$;
"""

CALL = """
\\set a random_zipfian(1, {items}, 1.05)
\\set b random_zipfian(1, {items}, 1.05)
\\set q random(1, 3)
\\set r random(1, 3)
\\set la random(0, 8000)
\\set lo random(0, 6000)
\\set n random(1, 9223372036854775806)
select place(:client_id || '-' || :n, 50 + :la / 1000.0, -5 + :lo / 1000.0, :a, :q, :b, :r);
"""


def programs():
    """The newest PostgreSQL's folder of programs."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), key=lambda path: int(re.findall(r"\d+", path)[0]))
    if found:
        return os.path.dirname(found[-1])
    on_path = shutil.which("pg_ctl")
    return os.path.dirname(on_path) if on_path else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--clients", default="8,32,64", help="levels, comma-separated")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--stockmesh", metavar="FILE", help="figures of `stockmesh-sim bench --json FILE`")
    parser.add_argument("--json", metavar="FILE", help="write the figures, too")
    args = parser.parse_args()
    bin_dir = programs()
    if bin_dir is None:
        print("PostgreSQL is not installed: apt-get install postgresql postgresql-contrib", file=sys.stderr)
        return 77
    # PostgreSQL does not run as root.
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = tempfile.mkdtemp(prefix="stockmesh-pgbench-")
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data = os.path.join(folder, "data")

    def run(program, *arguments, text=None):
        command = [os.path.join(bin_dir, program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", user, "--", *command]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=folder)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    figures = []
    try:
        run("initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C")
        options = (
            f"-k {folder} -c listen_addresses='' -c shared_buffers=1GB -c synchronous_commit=on -c fsync=on "
            "-c max_wal_size=4GB -c max_connections=300 -c autovacuum=on"
        )
        run("pg_ctl", "-D", data, "-w", "-l", os.path.join(folder, "log"), "-o", options, "start")
        try:
            run("psql", "-h", folder, "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1",
                text=SCHEMA.format(nodes=args.nodes, items=args.items) + "vacuum analyze;\n")
            script = os.path.join(folder, "place.sql")
            with open(script, "w", encoding="utf-8") as file:
                file.write(CALL.format(items=args.items))
            os.chmod(script, 0o644)
            version = run("psql", "-h", folder, "-d", "postgres", "-Atc", "show server_version").split()[0]
            print(f"PostgreSQL {version}, {args.nodes} nodes, {args.items} items, two lines, synchronous commit")
            print(f"{'clients':>8} {'orders/s':>10} {'mean ms':>9}")
            for clients in [int(text) for text in args.clients.split(",")]:
                threads = str(min(clients, os.cpu_count() or 1))
                said = run("pgbench", "-h", folder, "-n", "-M", "prepared", "-c", str(clients), "-j", threads,
                           "-T", str(args.seconds), "-f", script, "postgres")
                rate = float(re.search(r"tps = ([0-9.]+)", said).group(1))
                latency = float(re.search(r"latency average = ([0-9.]+)", said).group(1))
                figures.append({"clients": clients, "orders_per_second": round(rate), "latency_mean_ms": latency})
                print(f"{clients:>8} {rate:>10.0f} {latency:>9.2f}")
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    best = max(figure["orders_per_second"] for figure in figures)
    told = {"postgresql": version, "nodes": args.nodes, "items": args.items, "levels": figures, "best": best}
    if args.stockmesh:
        with open(args.stockmesh, encoding="utf-8") as file:
            bench = json.load(file)
        told["ratios"] = {}
        for way in ("unary", "stream"):
            rates = [level["orders_per_second"] for level in bench["levels"] if level["way"] == way]
            if rates:
                told["ratios"][way] = round(max(rates) / best, 2)
                print(f"Stockmesh {way}: {max(rates):.0f} orders/s on three replicas = {max(rates) / best:.1f} x PostgreSQL")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=2)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
