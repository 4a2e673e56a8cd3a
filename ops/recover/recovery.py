"""Recovery: one repository with its storage, its history and its views, as the verbs use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.errors import LastcopyError
from ops.history.dates import correct_dates, date_markers_last, find_common_shift
from ops.history.timeline import Proposal, propose
from ops.history.versions import Entry, History, area, iso
from ops.private_folder import socket_folder
from ops.restic.repository import CHECK, LIST, Repository, ResticResult, Tools, open_workspace
from ops.restic.view import serve_view
from ops.storage import checkpoint
from ops.storage.access import Access
from ops.storage.client import AccessRefused, Storage

Say = Callable[[str], None]
Ask = Callable[[], ResticResult]
_WRONG = 12  # restic's exit code
_NOT_ITS = (
    "the password does not belong to this repository (was it changed, or is it for another --generation?), "
    "or its key was replaced before that moment: give an earlier --at"
)


@dataclass(frozen=True, kw_only=True)
class OpenedMoment:
    """A moment at which restic can open the repository. ``whole``: restic's check passed. ``why``: how the moment was found."""

    repository: Repository
    at: datetime
    why: str
    whole: bool
    snapshots: tuple[dict[str, Any], ...]  # ordered by arrival in the storage, newest last


@dataclass(frozen=True, kw_only=True)
class RunningCheck:
    """restic's check of a moment and its list of snapshots, both running."""

    moment: datetime
    checked: Ask
    listed: Ask


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What is known of one repository while a verb runs. Messages for people go to ``say``."""

    access: Access
    tools: Tools
    storage: Storage
    folder: Path
    history: History
    since: tuple[datetime, str] | None
    say: Say
    views: ServedViews
    # Started before the locks were read, and valid because they confirmed the dates.
    ahead: RunningCheck | None = None

    @property
    def proposal(self) -> Proposal:
        return propose(self.history, self.since[0] if self.since else None)

    def reload(self) -> Recovery:
        """The same repository with its current history."""
        history = _by_writing(self.access, self.storage, self.storage.history())
        history = date_markers_last(history, self.since[0] if self.since else None)
        return replace(self, history=history, ahead=None)

    def open(self, at: datetime | None) -> Repository:
        """The repository as it was at a moment, or as it is now (None)."""
        return Repository(
            access=self.access,
            tools=self.tools,
            folder=self.folder,
            served=self.views.socket(at, self.history) if at is not None else None,
            key_hint=self.access.record.key_id or _oldest_key(self.history),
        )

    def check(self, at: datetime | None, *, read_data: bool = False) -> ResticResult:
        """Run restic's own check of a view. The index and trees that it reads stay cached for later commands.

        The structure is checked first: it finds packs of a wrong size at once, while reading the data would retry each for 15 minutes.
        """
        answer = self.open(at).ask(*CHECK)
        if answer.ok and read_data:
            self.say(
                "restic now reads and checks every pack, which takes as long as reading the whole repository"
            )
            answer = self.open(at).ask(*CHECK, "--read-data")
        return answer

    def open_moment(self, at: datetime | None, *, even_if_damaged: bool) -> OpenedMoment:
        """Open and check the given moment, or the last good one. If the last good one fails, search earlier snapshots' moments.

        ``even_if_damaged``: continue although restic's check fails. Raises LastcopyError.
        """
        proposal = self.proposal
        moment = at or proposal.at
        if moment is None:
            raise LastcopyError(
                f"no good moment was found: {proposal.why}",
                fix="look at the timeline with `lastcopy recover look`, then give --at",
            )
        self._require_repository(moment)
        why = "given by --at" if at else proposal.why
        self.say(f"moment: {iso(moment)} ({why})")
        with self._run_check(moment) as (checked, listed):
            answer = checked()
            if answer.ok:
                return self._opened(moment, why, whole=True, listed=listed())
        if not even_if_damaged and at is None:
            self.say("restic's check of that moment fails; searching for the last earlier moment that passes")
            found = find_last_passing(proposal.fallbacks, lambda one: self.check(one).ok)
            if found is not None:
                moment, answer = found, ResticResult(code=0, out="", words="")
                why = f"the last snapshot's moment whose check passes; {iso(proposal.at or found)} failed"
                self.say(f"moment: {iso(moment)} ({why})")
        if not answer.ok and not even_if_damaged:
            raise LastcopyError(
                f"the repository as of {iso(moment)} does not pass restic's check:\n{answer.words}",
                where="--at" if at else "",
                fix=_NOT_ITS
                if answer.code == _WRONG
                else "give an earlier --at; or restore what can be read with --even-if-damaged",
            )
        return self._opened(moment, why, whole=answer.ok)

    @contextmanager
    def _run_check(self, moment: datetime) -> Iterator[tuple[Ask, Ask]]:
        """Run restic's check and list in parallel: each start derives the key again, which is slow by design."""
        if self.ahead and self.ahead.moment == moment:
            yield self.ahead.checked, self.ahead.listed
            return
        with self.open(moment).start(*LIST) as listed:
            yield lambda: self.check(moment), listed

    @contextmanager
    def start_check(self, at: datetime | None) -> Iterator[RunningCheck | None]:
        """Start check and list on the view according to the storage's dates. Yields None if there is no such view to check."""
        moment = at or self.proposal.at
        if moment is None or self.history.misdated or "config" not in self.history.view(moment):
            yield None
            return
        with self.open(moment).start(*LIST) as listed, self.open(moment).start(*CHECK) as checked:
            yield RunningCheck(moment=moment, checked=checked, listed=listed)

    def _opened(
        self, moment: datetime, why: str, *, whole: bool, listed: ResticResult | None = None
    ) -> OpenedMoment:
        repository = self.open(moment)
        view = self.history.view(moment)
        # Use the time when a name was first written: a rebuild copies overwritten objects again, in no particular order.
        stored = {
            name.removeprefix("snapshots/"): next(
                (one.at for one in self.history.names[name] if not one.marker), entry.at
            )
            for name, entry in view.items()
        }
        known = [one for one in repository.snapshots(listed) if one["id"] in stored]
        known.sort(key=lambda one: stored[one["id"]])
        return OpenedMoment(repository=repository, at=moment, why=why, whole=whole, snapshots=tuple(known))

    def _require_repository(self, moment: datetime) -> None:
        """Require a repository at that moment which this key may read. Raises LastcopyError."""
        config = self.history.view(moment).get("config")
        if config is not None:
            # If this key may list versions but not read them, restic would retry for 15 minutes.
            self.storage.read(config)
            return
        first = f"; its first object is of {iso(self.history.first)}" if self.history.first else ""
        raise LastcopyError(
            f"there was no repository at {self.access.where.bucket}/{self.access.path} at {iso(moment)}{first}",
            where="--at, source and generation",
            fix="take a time from `lastcopy recover look`",
        )


def _oldest_key(history: History) -> str | None:
    """The key hint for a source whose key id was not recorded: the key that `restic init` made is older than any that an attacker adds."""
    keys: list[Entry] = [
        entries[0]
        for name, entries in history.names.items()
        if area(name) == "keys" and not entries[0].marker
    ]
    oldest = min(keys, key=lambda entry: entry.at, default=None)
    return oldest.name.removeprefix("keys/") if oldest else None


def find_last_passing(moments: Sequence[datetime], passes: Callable[[datetime], bool]) -> datetime | None:
    """The last of the moments that passes, found by bisection: bogus objects only accumulate, so after a failure all later moments fail."""
    low, high = 0, len(moments)  # all below low pass, all from high on fail
    while low < high:
        middle = (low + high) // 2
        if passes(moments[middle]):
            low = middle + 1
        else:
            high = middle
    return moments[low - 1] if low else None


@contextmanager
def open_recovery(
    access: Access,
    tools: Tools,
    say: Say,
    report: Callable[[str, int], None] = lambda *_: None,
    parent: Path | None = None,
    *,
    ahead: bool = False,
    at: datetime | None = None,
) -> Iterator[Recovery]:
    """Open a repository with its complete history. The private folder (below ``parent``, or TMPDIR) is removed afterwards.

    ``report`` gets what is being counted and the count. ``ahead``: the caller will open the moment ``at`` (None: the last good one), so its check
    may start with the dates that the storage reports. It is discarded if the locks show other dates.
    """
    with open_workspace(access, parent) as folder:
        ca = folder / "ca.pem"
        storage = Storage(access, ca if ca.exists() else None)
        listed = storage.history(lambda seen: report("versions listed", seen))
        if not listed.names:
            raise LastcopyError(
                f"the storage holds no history of {access.where.bucket}/{access.path}",
                where="source, generation and storage",
                allowed="the location of a repository: bucket/prefix/source/g1",
                fix="compare it with the stack file; the source may have an earlier generation (--generation)",
            )
        try:
            notes = storage.notes(checkpoint.folder(access))
        except AccessRefused:
            notes = []  # a key that is limited to this source's prefix may not read them; then there is no checkpoint
        with ServedViews(storage, folder, say) as views, ExitStack() as early:

            def known(history: History) -> Recovery:
                since = checkpoint.find_newest(access, history, notes)
                history = date_markers_last(history, since[0] if since else None)
                return Recovery(
                    access=access, tools=tools, storage=storage, folder=folder, history=history, since=since, say=say, views=views,
                )  # fmt: skip

            begun = early.enter_context(known(listed).start_check(at)) if ahead else None
            history = _by_writing(access, storage, listed, say, lambda seen: report("locks read", seen))
            if history.misdated:
                early.close()
                begun = None
            yield replace(known(history), ahead=begun)


def _by_writing(
    access: Access,
    storage: Storage,
    history: History,
    say: Say = lambda _: None,
    report: Callable[[int], None] = lambda _: None,
) -> History:
    """The history with the times of writing, if the storage may report other dates (dates.py). AWS accepts no date from a writer."""
    if access.where.provider == "AWS":
        return history
    try:
        locks = storage.locks(history, report)
    except AccessRefused:
        say(
            "this key may not read locks (s3:GetBucketObjectLockConfiguration, s3:GetObjectRetention): the dates of versions cannot be verified"
        )
        return history
    if locks is None or not locks[0]:
        say("the storage reports no locks, so the dates of its versions cannot be verified")
        return history
    until, today = locks
    found = correct_dates(history, until, (*access.lock_was, today))
    if found.misdated:
        say(
            f"{found.misdated} versions have a date other than that of their writing, according to the end of their lock"
        )
    shift = find_common_shift(history, found)
    if shift is not None and today.days and today.days + shift > 0:
        was = today.days + shift
        say(
            f"nearly all of them by {shift:+d} days: as if the bucket's default retention had been {was} days before it became {today.days} days"
        )
        say(
            f"if you know that it was, give --lock-was {was}@TIME with the time of the change; an attacker can forge this pattern, too"
        )
    return found


class ServedViews:
    """The views served here, each from the moment it is first needed."""

    def __init__(self, storage: Storage, folder: Path, say: Say) -> None:
        self._storage, self._say = storage, say
        self._open = ExitStack()
        self._folder = self._open.enter_context(socket_folder(folder, "view", len("view-00000")))
        self._served: dict[tuple[datetime, bool], Path] = {}

    def socket(self, at: datetime, history: History) -> Path:
        """The socket of the view of that moment. The storage's dates and the times of writing give different views of one moment."""
        view = (at, history.misdated > 0)
        if view not in self._served:
            socket = self._folder / f"view-{len(self._served)}"
            self._open.enter_context(serve_view(self._storage, history.view(at), socket, self._say))
            self._served[view] = socket
        return self._served[view]

    def __enter__(self) -> ServedViews:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
