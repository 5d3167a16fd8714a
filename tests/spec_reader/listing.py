"""Restore points as text or JSON."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from .errors import ReaderError
from .points import COMPLETENESS, CONSISTENCY, Disk
from .repository import Repository
from .state import Point


def describe_all(repository: Repository) -> tuple[dict[str, Any], list[str]]:
    """What `list --json` prints, and the problems met."""
    problems: list[str] = []
    points = [_describe(repository, point, problems) for point in repository.state.live_points()]
    state = repository.state
    return {
        "repository": repository.config.repository_id.hex(),
        "head": {"number": state.head_number, "hash": state.head_hash.hex()},
        "points": points,
        "void": state.voids,
        "problems": problems,
    }, problems


def _describe(repository: Repository, point: Point, problems: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": point.id.hex(),
        "time": point.time,
        "entry": point.entry_number,
        "number": point.number,
        "vm": str(point.vm),
        "vm_name": point.vm_name,
        "held": point.held,
    }
    try:
        decoded = repository.restore_point(point)
    except ReaderError as error:
        problems.append(str(error))
        return described | {"error": str(error)}
    return described | {
        "vm_name": decoded.vm_name,
        "tag": decoded.tag,
        "host": decoded.host,
        "program_version": decoded.program_version,
        "started": decoded.started,
        "finished": decoded.finished,
        "consistency": CONSISTENCY[decoded.consistency],
        "completeness": COMPLETENESS[decoded.completeness],
        "vm_home": decoded.vm_home.hex() if decoded.vm_home else None,
        "disks": [_describe_disk(disk) for disk in decoded.disks],
    }


def _describe_disk(disk: Disk) -> dict[str, Any]:
    return vars(disk) | {"map_root": disk.map_root.hex()}


def as_text(described: dict[str, Any]) -> str:
    lines = []
    for point in described["points"]:
        when = time_text(point["time"])
        lines.append(f"{point['id'][:16]}  {when}  {point['vm_name'] or point['vm']}  #{point['number']}")
        if "error" in point:
            lines.append(f"    {point['error']}")
            continue
        lines[-1] += f"  {point['completeness']}, {point['consistency']}{', held' if point['held'] else ''}"
        for disk in point["disks"]:
            lines.append(f"    {disk['name']}  {disk['disk_bytes']} bytes  map root {disk['map_root']}")
    return "\n".join(lines) or "no restore points"


def time_text(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{milliseconds} ms"
