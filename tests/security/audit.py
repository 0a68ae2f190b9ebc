"""Known vulnerabilities of what the lock files install: `python -m tests.security.audit LOCK...`.

Asks OSV, through pip-audit. Where it cannot be reached nothing is known, which is said, and is no
failure. Nothing is installed or resolved: lock files name every package with its version.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

OSV = "https://api.osv.dev"
# Asked first, so that an unreachable database is not taken for a failing audit.
_PROBE = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "24.0"}


def main(locks: list[str], *, osv: str = OSV) -> int:
    """0 if nothing is known of any package, or nothing can be; 1 with a line for each finding."""
    why = unreachable(osv)
    if why:
        print(f"skipped: no audit of dependencies, {osv} {why}")
        return 0
    return max(_audit(Path(lock), osv) for lock in locks)


def unreachable(osv: str) -> str:
    """Why the database cannot be asked; "" if it can."""
    try:
        answer = httpx.post(f"{osv}/v1/query", json=_PROBE, timeout=5)
        return "" if isinstance(answer.raise_for_status().json(), dict) else "answers otherwise"
    except (httpx.HTTPError, ValueError) as error:
        return f"cannot be asked ({type(error).__name__})"


def _audit(lock: Path, osv: str) -> int:
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip"),
        *("--require-hashes", "--vulnerability-service", "osv", "--osv-url", f"{osv}/v1/query"),
        *("--format", "json", "--progress-spinner", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        print(f"{lock}: pip-audit failed: {done.stderr.strip()[-500:]}", file=sys.stderr)
        return 1
    for one in found:
        for known in one.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            print(f"{lock}: {one['name']} {one['version']}: {known['id']}, mended in {fixed}")
    asked = [one for one in found if "vulns" in one]
    print(f"{lock}: {len(asked)} of {len(found)} packages looked up")
    return int(any(one["vulns"] for one in asked))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
