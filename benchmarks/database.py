"""How much memory and time does predict take for rows that lie in PostgreSQL, by how many there are?

    python benchmarks/database.py [--rows 500000 5000000]

Starts a PostgreSQL of its own, fills it with simulated admissions under ever new case numbers, and scores them to
Parquet with a model of the default learner. The peak of memory is the kernel's, of the command alone.
"""

import argparse
import csv
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DRAWN = 100_000  # rows that are simulated; the others repeat them


def program(name: str) -> str:
    """Find a program of PostgreSQL, on the path or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or str(debian[-1])


def as_owner(*words: str) -> None:
    """Run a program that root may not."""
    user = {} if os.geteuid() else {"user": "nobody"}
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)  # type: ignore[call-overload]


def measured(words: list[str], folder: Path) -> tuple[float, float, float]:
    """Run a command, and return its wall and CPU seconds and its peak in MB."""
    started = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Run both sizes and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000])
    sizes = parser.parse_args().rows
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hi_ml.postgresql.") as place:
        folder = Path(place)
        if not os.geteuid():
            shutil.chown(folder, "nobody")
        data, url = f"{folder}/data", f"postgresql://ann@127.0.0.1:{port}/postgres"
        as_owner(program("initdb"), "-D", data, "-U", "ann", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        as_owner(program("pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            run(url, folder, sizes)
        finally:
            as_owner(program("pg_ctl"), "-D", data, "-m", "immediate", "stop")


def run(url: str, folder: Path, sizes: list[int]) -> None:
    """Fill tables of each size and score them."""
    work = folder / "work"
    work.mkdir()
    command = [sys.executable, "-m"]
    measured([*command, "hi_ml.simulate", "output=drawn.csv", f"rows={DRAWN}"], work)
    with (work / "drawn.csv").open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader(lines))
    columns = ", ".join(f'"{name}" text' for name in header)
    copy = f"\\copy drawn from '{work}/drawn.csv' csv header"
    for statement in (f"create table drawn ({columns})", copy):
        subprocess.run([program("psql"), "-q", url, "-c", statement], check=True)
    quick = ["task=length_of_stay", "tracking=none", "explain.rows=0", "hydra.run.dir=run"]
    measured([*command, "hi_ml.train", "model=lgbm", *quick], work)
    for rows in sizes:
        named = ", ".join(f'd."{name}"' for name in header)
        fill = (
            f"create table asked as select row_number() over () as case_no, {named} "  # noqa: S608 -- names of our own table
            f"from drawn d cross join generate_series(1, {-(-rows // DRAWN)}) limit {rows}; "
            "alter table asked add primary key (case_no)"
        )
        subprocess.run([program("psql"), "-q", url, "-c", f"drop table if exists asked; {fill}"], check=True)
        source = f'input={{url: "{url}", table: asked, order_by: [case_no]}}'
        words = ["model_uri=run/length_of_stay", source, f"output={rows}.parquet"]
        wall, cpu, peak = measured([*command, "hi_ml.predict", *words], work)
        print(f"{rows:>12,} rows: {wall:6.1f} s, {cpu:6.1f} CPU s, peak {peak:5.0f} MB", flush=True)


if __name__ == "__main__":
    main()
