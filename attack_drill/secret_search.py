"""Searches a host for words wherever root can find them: files, deleted files, logs, environments, arguments, memory.

The words never reach the host in clear. Each is sent masked, so that no buffer on its way contains it, and of a password only a part is sent
(`middle_part`), from which the rest cannot be guessed. The host needs perl, which Debian and Ubuntu always have.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from attack_drill.encodings import encodings
from attack_drill.errors import DrillError
from attack_drill.scratch_folder import new_folder_name
from ops.hosts.connection import SshHost

PART = 12  # characters: 70 bits, so that it is not found by chance
LEAST = 24  # the rest of a shorter password would be too easy to guess
SECONDS = 600

# Reads a pad and the masked words from stdin, in hex. Prints "number TAB place" for each find, then how many bytes it read.
SEARCH = r"""
use strict; use warnings; use bytes; no warnings 'portable';
my ($pad, @words) = map { pack 'H*', $_ } split /\n/, do { local $/; <STDIN> };
my (%number, %told, $bytes); $bytes = 0;
for my $i (0 .. $#words) { $words[$i] ^= substr $pad, 0, length $words[$i]; $number{$words[$i]} //= $i }
my $any = join '|', map { quotemeta } keys %number; $any = qr/($any)/;
sub tell_of { my ($n, $where) = @_; $where =~ s/[^ -~]/?/g; print "$n\t$where\n" unless $told{"$n $where"}++ }
sub look {
  my ($where, $file, $left) = @_; my ($tail, $piece) = ('', '');
  while (!defined $left || $left > 0) {
    my $n = sysread $file, $piece, (defined $left && $left < 1 << 20 ? $left : 1 << 20); last unless $n;
    $bytes += $n; $left -= $n if defined $left;
    my $text = $tail . $piece; tell_of($number{$1}, $where) while $text =~ /$any/g;
    $tail = length $text > 300 ? substr $text, -300 : $text;
  }
}
sub piped { my ($where, @command) = @_; if (open my $out, '-|', @command) { look($where, $out); close $out } }
my $elsewhere = qr/^(nfs|cifs|smb|fuse|proc|sysfs|cgroup|devpts|autofs|mqueue|debugfs|tracefs|bpf|securityfs|efivarfs)/;
my %skip = map { $_ => 1 } '/proc', '/sys', '/dev';
if (open my $mounts, '<', '/proc/mounts') {
  while (<$mounts>) { my (undef, $at, $type) = split / /; $skip{$at} = 1 if $at ne '/' && $type =~ /$elsewhere/ }
}
my @folders = ('/', '/dev/shm');
while (defined(my $folder = pop @folders)) {
  opendir my $list, $folder or next;
  for my $name (readdir $list) {
    next if $name eq '.' || $name eq '..';
    my $path = $folder eq '/' ? "/$name" : "$folder/$name"; lstat $path or next;
    if (-d _) { push @folders, $path unless $skip{$path} }
    elsif (-f _ && -s _) {
      if (open my $file, '<:raw', $path) { look("file $path", $file) }
      piped("file $path", 'gzip', '-dc', $path) if $path =~ m{^/var/log/.*\.gz$};
    }
  }
}
piped('journal', 'sh', '-c', 'journalctl --no-pager -o cat 2>/dev/null');
opendir my $all, '/proc' or die; my @running = grep { /^\d+$/ && $_ != $$ } readdir $all;
for my $pid (@running) {
  for my $what ('environ', 'cmdline') { if (open my $file, '<:raw', "/proc/$pid/$what") { look("$what of process $pid", $file) } }
  if (opendir my $open, "/proc/$pid/fd") {
    for my $n (readdir $open) {
      my $to = readlink "/proc/$pid/fd/$n"; next unless defined $to && $to =~ / \(deleted\)$/ && -f "/proc/$pid/fd/$n";
      if (open my $file, '<:raw', "/proc/$pid/fd/$n") { look("deleted file of process $pid", $file) }
    }
  }
  open my $maps, '<', "/proc/$pid/maps" or next; open my $memory, '<:raw', "/proc/$pid/mem" or next;
  while (<$maps>) {
    my ($from, $to, $rights, $of) = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)$/ or next;
    next unless $rights =~ /^r/ && ($rights =~ /w/ || $of eq '') && $of !~ /^\[v/;
    sysseek $memory, hex $from, 0 or next; look("memory of process $pid", $memory, hex($to) - hex($from));
  }
}
my $swap = 0; if (open my $in, '<', '/proc/swaps') { my @lines = <$in>; $swap = @lines - 1 }
print "swap\t$swap\n" if $swap > 0; print "read\t$bytes\n";
"""
# Reads five words in hex from stdin and puts each where the search must find it.
PLANT = r"""
set -eu; umask 077; at=$1; mkdir "$at"; read -r file; read -r gone; read -r environ; read -r words; read -r memory
plain() { perl -e 'print pack "H*", $ARGV[0]' "$1"; }
plain "$file" >"$at/file"
plain "$gone" >"$at/gone"; exec 7<"$at/gone"; setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >>"$at/pids"; exec 7<&-; rm "$at/gone"
DRILL=$(plain "$environ") setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >>"$at/pids"
setsid perl -e 'sleep 300' "$(plain "$words")" </dev/null >/dev/null 2>&1 & echo $! >>"$at/pids"
printf %s "$memory" >"$at/memory"
setsid perl -e 'open F, "<", $ARGV[0]; $w = pack "H*", <F>; unlink $ARGV[0]; sleep 300; print $w' "$at/memory" </dev/null >/dev/null 2>&1 & echo $! >>"$at/pids"
for _ in $(seq 100); do [ -e "$at/memory" ] || break; sleep 0.1; done
"""
PLACES = ("file", "deleted file", "environ", "cmdline", "memory")
UNPLANT = 'if [ -f "$1/pids" ]; then xargs kill <"$1/pids" 2>/dev/null || :; fi; rm -rf "$1"'


def middle_part(password: str) -> str | None:
    """The middle of a password; None if the rest would be too short to stay secret."""
    if len(password) < LEAST:
        return None
    start = (len(password) - PART) // 2
    return password[start : start + PART]


def memory_encodings(word: str) -> list[bytes]:
    """A word in every form that `encodings` knows, and in the wide characters that some programs keep in memory."""
    return [*(form.encode() for form in encodings(word)), word.encode("utf-16-le")]


def search_host(
    host: SshHost, words: Mapping[str, Sequence[bytes]]
) -> tuple[dict[str, list[str]], int, bool]:
    """Search a host.

    Args:
        host: Where.
        words: By name, the forms of a word.

    Returns:
        By name, the places where one of its forms was found; how many bytes were read; whether there is swap, which is not read.

    Raises:
        DrillError: The search did not come to its end.
    """
    names, lines = [], []
    pad = secrets.token_bytes(max(len(one) for group in words.values() for one in group))
    for name, group in words.items():
        for one in group:
            names.append(name)
            lines.append(bytes(a ^ b for a, b in zip(one, pad, strict=False)).hex())
    said = host.run("perl", "-e", SEARCH, stdin="\n".join([pad.hex(), *lines]) + "\n", seconds=SECONDS)
    found: dict[str, list[str]] = {name: [] for name in words}
    read, swap = -1, False
    for line in said.out.splitlines():
        number, _, place = line.partition("\t")
        if number == "read":
            read = int(place)
        elif number == "swap":
            swap = True
        elif place not in found[names[int(number)]]:
            found[names[int(number)]].append(place)
    if read < 0:
        raise DrillError(f"the search on {host.name} did not come to its end")
    return found, read, swap


@contextmanager
def plant_words(host: SshHost) -> Iterator[dict[str, list[bytes]]]:
    """Put words of the drill's own into every kind of place, and remove them afterwards. Yields the word of each kind."""
    words = [secrets.token_hex(12) for _ in PLACES]
    at = new_folder_name()
    try:
        host.run("sh", "-c", PLANT, "sh", at, stdin="".join(f"{word.encode().hex()}\n" for word in words))
        yield {place: [word.encode()] for place, word in zip(PLACES, words, strict=True)}
    finally:
        host.run("sh", "-c", UNPLANT, "sh", at)
