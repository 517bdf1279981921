"""``sr-tvm devices``: this CPU, and the servers of a tracker."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--tracker", metavar="HOST:PORT", help="List the servers of this RPC tracker too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(tracker: str | None, as_json: bool) -> None:
    """List where artifacts can be measured.

    \b
    sr-tvm devices --tracker 127.0.0.1:9190
    """
    from sr_tvm.runners.tracker import list_devices
    from sr_tvm.system import machine

    local = {"cpu": machine.cpu_name(), "machine": machine.machine(), "cores": machine.cores()}
    found = list_devices(tracker) if tracker else []
    if as_json:
        servers = [{"key": s.key, "address": s.address, "free": s.free, "waiting": s.waiting} for s in found]
        click.echo(json.dumps({"local": local, "tracker": tracker, "servers": servers}))
        return
    click.echo(f"local  {local['cpu']} ({local['machine']}, {local['cores']} cores): sr-tvm bench out/")
    for server in found:
        state = "free" if server.free else "busy"
        click.echo(f"{server.key}  {server.address}, {state}: sr-tvm bench out/ --tracker {tracker} --key {server.key}")
    if tracker and not found:
        click.echo(f"tracker {tracker} knows no servers yet")
