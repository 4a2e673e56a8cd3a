"""Recovery: one repository with its storage, its history and its views; what the verbs have in common."""

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
    "the password is not this repository's (was it rotated, or is it of another --generation?), "
    "or its key was replaced before that moment: give an earlier --at"
)


@dataclass(frozen=True, kw_only=True)
class OpenedMoment:
    """A moment whose repository restic opened; ``whole``: its check found nothing wrong. ``why``: how the moment was found."""

    repository: Repository
    at: datetime
    why: str
    whole: bool
    snapshots: tuple[dict[str, Any], ...]  # newest last, by the storage's own time


@dataclass(frozen=True, kw_only=True)
class RunningCheck:
    """restic's check of a moment and its list of the snapshots, both at work."""

    moment: datetime
    checked: Ask
    listed: Ask


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What is known of one repository while a verb runs. Every word for people goes through ``say``."""

    access: Access
    tools: Tools
    storage: Storage
    folder: Path
    history: History
    since: tuple[datetime, str] | None
    say: Say
    views: ServedViews
    ahead: RunningCheck | None = None  # begun before the locks were read, by dates that they bear out

    @property
    def proposal(self) -> Proposal:
        return propose(self.history, self.since[0] if self.since else None)

    def reload(self) -> Recovery:
        """With the history as it is by now."""
        history = _by_writing(self.access, self.storage, self.storage.history())
        history = date_markers_last(history, self.since[0] if self.since else None)
        return replace(self, history=history, ahead=None)

    def open(self, at: datetime | None) -> Repository:
        return Repository(
            access=self.access,
            tools=self.tools,
            folder=self.folder,
            served=self.views.socket(at, self.history) if at is not None else None,
            key_hint=self.access.record.key_id or _oldest_key(self.history),
        )

    def check(self, at: datetime | None, *, read_data: bool = False) -> ResticResult:
        """restic's own check of a view; the index and trees that it read stay cached for what comes next.

        The structure first: it names packs of a wrong size at once, over each of which reading would try for a quarter of an hour.
        """
        answer = self.open(at).ask(*CHECK)
        if answer.ok and read_data:
            self.say("restic reads and checks every pack; this takes as long as reading the whole repository")
            answer = self.open(at).ask(*CHECK, "--read-data")
        return answer

    def open_moment(self, at: datetime | None, *, even_if_damaged: bool) -> OpenedMoment:
        """The given moment, or the last good one; its check first. Where the last good one fails, earlier snapshots' moments are searched."""
        proposal = self.proposal
        moment = at or proposal.at
        if moment is None:
            raise LastcopyError(
                f"no good moment was found: {proposal.why}",
                fix="look at the timeline with `lastcopy recover look`, then give --at",
            )
        self._require_repository(moment)
        why = "you asked for it" if at else proposal.why
        self.say(f"moment: {iso(moment)} ({why})")
        with self._run_check(moment) as (checked, listed):
            answer = checked()
            if answer.ok:
                return self._opened(moment, why, whole=True, listed=listed())
        if not even_if_damaged and at is None:
            self.say("restic's check of that moment fails; looking for the last earlier one that passes")
            found = find_last_passing(proposal.fallbacks, lambda one: self.check(one).ok)
            if found is not None:
                moment, answer = found, ResticResult(code=0, out="", words="")
                why = f"the last snapshot's moment whose check passes; {iso(proposal.at or found)} did not"
                self.say(f"moment: {iso(moment)} ({why})")
        if not answer.ok and not even_if_damaged:
            raise LastcopyError(
                f"the repository as of {iso(moment)} does not pass restic's check:\n{answer.words}",
                where="--at" if at else "",
                fix=_NOT_ITS
                if answer.code == _WRONG
                else "give an earlier --at; or take what can be read with --even-if-damaged",
            )
        return self._opened(moment, why, whole=answer.ok)

    @contextmanager
    def _run_check(self, moment: datetime) -> Iterator[tuple[Ask, Ask]]:
        """restic's check and its list at once: each start derives the key anew, which is slow on purpose."""
        if self.ahead and self.ahead.moment == moment:
            yield self.ahead.checked, self.ahead.listed
            return
        with self.open(moment).start(*LIST) as listed:
            yield lambda: self.check(moment), listed

    @contextmanager
    def start_check(self, at: datetime | None) -> Iterator[RunningCheck | None]:
        """Both at work, on the view by the dates that the storage tells; None where there is nothing to look at so."""
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
        # When a name was written first: a rebuild copies what was overwritten, one in no order after the other.
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
        """A repository, and one that this key may read."""
        config = self.history.view(moment).get("config")
        if config is not None:
            # restic would ask again for a quarter of an hour where this key may list versions and not read them.
            self.storage.read(config)
            return
        first = f"; its first object is of {iso(self.history.first)}" if self.history.first else ""
        raise LastcopyError(
            f"no repository stood at {self.access.where.bucket}/{self.access.path} at {iso(moment)}{first}",
            where="--at, source and generation",
            fix="take a time from `lastcopy recover look`",
        )


def _oldest_key(history: History) -> str | None:
    """For a source whose key id was not recorded: the key that `restic init` made came before any that an attacker adds."""
    keys: list[Entry] = [
        entries[0]
        for name, entries in history.names.items()
        if area(name) == "keys" and not entries[0].marker
    ]
    oldest = min(keys, key=lambda entry: entry.at, default=None)
    return oldest.name.removeprefix("keys/") if oldest else None


def find_last_passing(moments: Sequence[datetime], passes: Callable[[datetime], bool]) -> datetime | None:
    """The last of the moments that passes, in few tries: what is bogus only grows, so after a failing one all fail."""
    low, high = 0, len(moments)  # passing below low, failing from high on
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
    told: Callable[[str, int], None] = lambda *_: None,
    parent: Path | None = None,
    *,
    ahead: bool = False,
    at: datetime | None = None,
) -> Iterator[Recovery]:
    """Everything listed and ready; the private folder (below ``parent``, or TMPDIR) is gone afterwards.

    ``told`` hears what is being counted, and how far it is. ``ahead``: ``good`` will be asked for the moment ``at`` (None: the last good
    one), so its check may begin by the dates that the storage tells; where the locks tell others, it is thrown away.
    """
    with open_workspace(access, parent) as folder:
        ca = folder / "ca.pem"
        storage = Storage(access, ca if ca.exists() else None)
        listed = storage.history(lambda seen: told("versions listed", seen))
        if not listed.names:
            raise LastcopyError(
                f"the storage remembers nothing at {access.where.bucket}/{access.path}",
                where="source, generation and storage",
                allowed="the place of a repository: bucket/prefix/source/g1",
                fix="compare with the stack file; a source may have an earlier generation (--generation)",
            )
        try:
            notes = storage.notes(checkpoint.folder(access))
        except AccessRefused:
            notes = []  # a key that is limited to this source's prefix may not read them; then no checkpoint counts
        with ServedViews(storage, folder, say) as views, ExitStack() as early:

            def known(history: History) -> Recovery:
                since = checkpoint.newest(access, history, notes)
                history = date_markers_last(history, since[0] if since else None)
                return Recovery(
                    access=access, tools=tools, storage=storage, folder=folder, history=history, since=since, say=say, views=views,
                )  # fmt: skip

            begun = early.enter_context(known(listed).start_check(at)) if ahead else None
            history = _by_writing(access, storage, listed, say, lambda seen: told("locks read", seen))
            if history.misdated:
                early.close()
                begun = None
            yield replace(known(history), ahead=begun)


def _by_writing(
    access: Access,
    storage: Storage,
    history: History,
    say: Say = lambda _: None,
    told: Callable[[int], None] = lambda _: None,
) -> History:
    """The history by the times of writing, where the storage may have been told others (dates.py). AWS takes no date from a writer."""
    if access.where.provider == "AWS":
        return history
    try:
        locks = storage.locks(history, told)
    except AccessRefused:
        say(
            "this key may not read locks (s3:GetBucketObjectLockConfiguration, s3:GetObjectRetention): the dates of versions are taken as told"
        )
        return history
    if locks is None or not locks[0]:
        say("the storage tells no locks, so the dates of its versions cannot be checked")
        return history
    until, today = locks
    found = correct_dates(history, until, (*access.lock_was, today))
    if found.misdated:
        say(
            f"{found.misdated} versions have a date that is not that of their writing; the end of their lock tells it"
        )
    shift = find_common_shift(history, found)
    if shift is not None and today.days and today.days + shift > 0:
        was = today.days + shift
        say(
            f"nearly all by {shift:+d} days alike: so it looks where the bucket's default retention, {today.days} days now, was {was} before"
        )
        say(
            f"if you know that it was, give --lock-was {was}@TIME, with the time of the change; a forger can make it look so too"
        )
    return found


class ServedViews:
    """The views that are served here, each from the first time that it is asked for."""

    def __init__(self, storage: Storage, folder: Path, say: Say) -> None:
        self._storage, self._say = storage, say
        self._open = ExitStack()
        self._folder = self._open.enter_context(socket_folder(folder, "view", len("view-00000")))
        self._served: dict[tuple[datetime, bool], Path] = {}

    def socket(self, at: datetime, history: History) -> Path:
        """Where the view of that moment is served. By the dates that the storage told and by those of writing, one moment is not the same view."""
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
