"""A minimal VPN that ends on the relay: IP packets in UDP datagrams between two tun devices, unencrypted.

As with any VPN, the firewall sees root's datagrams from and to one port, and logins that come in by another interface.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.scripts.relay.chain import Chain
from toolchain.checkout import ROOT

PORT, DEVICE = 51820, "vpn0"
RELAY, ADMIN = "10.99.0.1", "10.99.0.2"  # inside the tunnel
CLONE_NEWNET, TUNSETIFF, IFF_TUN_WITHOUT_HEADER = 0x40000000, 0x400454CA, 0x1001


def _tun(address: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN_WITHOUT_HEADER))
    for words in (["addr", "add", f"{address}/30", "dev", DEVICE], ["link", "set", DEVICE, "up"]):
        subprocess.run(["ip", *words], check=True, capture_output=True)
    return handle


def _carry(tun: int, wire: socket.socket, peer: tuple[str, int] | None) -> None:
    while True:
        for ready in select.select([tun, wire], [], [])[0]:
            if ready is wire:
                packet, peer = wire.recvfrom(65535)
                if packet:
                    os.write(tun, packet)
            elif peer is not None:
                packet = os.read(tun, 65535)
                with suppress(OSError):  # the firewall refuses it: a packet is lost, as on any network
                    wire.sendto(packet, peer)


def _end(address: str, relay: str) -> None:
    """``address`` inside; ``relay``: the address to connect to, empty at the relay's own end."""
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind(("", 0 if relay else PORT))
    if relay:  # the socket stays outside, the device goes into a separate network
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    tun = _tun(address)
    print("up", flush=True)
    _carry(tun, wire, (relay, PORT) if relay else None)


@contextmanager
def vpn(chain: Chain) -> Iterator[list[str]]:
    """Yields the words before a command that runs at the admin's end of the tunnel."""
    inside = chain.box.command("relay", ["true"])
    net = [
        word
        for word in inside[: inside.index("--")]
        if word.startswith("--target") or word in ("nsenter", "--net")
    ]
    here = ROOT
    ends = []
    try:
        for words, address, relay in (([*net, "--"], RELAY, ""), ([], ADMIN, chain.relay_facts["address"])):
            ends.append(
                subprocess.Popen(
                    [*words, sys.executable, "-m", "tests.scripts.relay.vpn", address, relay],
                    cwd=here, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
            assert ends[-1].stdout
            assert ends[-1].stdout.readline() == "up\n"
        yield ["nsenter", f"--net=/proc/{ends[-1].pid}/ns/net", "--"]
    finally:
        for end in ends:
            end.kill()
            end.communicate()


if __name__ == "__main__":
    _end(*sys.argv[1:3])
