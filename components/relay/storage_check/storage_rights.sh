# shellcheck shell=sh
# shellcheck disable=SC2154 # the step that names this prelude sets: own, ground, found, kept, probe, first
# storage_rights: prelude of the storage step: what this identity must be refused, and what the bucket's lifecycle does to backups.
#
# No call changes anything even if it is allowed. A storage checks rights first, so a refusal is 403 and
# any other answer means "allowed". Why each is harmless: docs/decisions/0016-storage-step.md.
POLICY="give this identity the policy in docs/configuration.md (storage identity of a source) and nothing beside it"

# allowed METHOD TARGET [BODY-FILE [HEADER…]]: whether the storage would do it.
allowed() {
  call "$@"
  case "$status $reason" in
    *SignatureDoesNotMatch | *InvalidAccessKeyId | *RequestTimeTooSkewed) ;; # nothing to do with rights
    401* | 403* | *AccessDenied | *NotImplemented | 405* | 501*) return 1 ;; # refused, or a call that the service does not have
    2* | 400* | 404* | 409* | 412*) return 0 ;;
  esac
  unseen "whether this identity may $method ${target%%lastcopy-probe*}: the storage answered $(answered)"
  return 1
}

md5() { # of a file, as Content-MD5 has it
  printf %b "$(for byte in $(md5sum <"$1" | cut -c 1-32 | sed 's/../& /g'); do printf '\\0%03o' "0x$byte"; done)" | base64
}

rights() {
  stranger=lastcopy-probe-$(od -An -N 8 -tx1 /dev/urandom | tr -d ' \n') # longer than any source's name
  # A version id made by the storage, which no other name has.
  version=${first:-null}
  [ -n "${V_SHARED:-}" ] || others
  # A name that does not exist: if removal is allowed, there is nothing to hide.
  if allowed DELETE "/${repository}index/$stranger"; then
    warning R1 "this identity may delete objects outside locks/, so whoever controls the relay can hide every backup behind delete markers" "$POLICY"
  fi
  if allowed DELETE "/${repository}index/$stranger?versionId=$(encoded "$version")"; then
    lost R2 "this identity may delete versions, so whoever controls the relay can destroy every backup whose lock has run out" "$POLICY"
  fi
  retention
  settings
}

# others: the objects of another source.
others() {
  all=$(value PREFIX)
  all=${all%/}
  case $all in */*) all=${all%/*}/ ;; *) all='' ;; esac
  if allowed GET "?list-type=2&max-keys=1&prefix=$(encoded "$all")"; then
    warning R8 "this identity may list what is not its source's, so whoever controls the relay sees the names of all sources" "$POLICY"
  fi
  # An upload in parts without a part: neither an object nor a byte. It is aborted at once.
  if allowed POST "/$all$stranger/g1/locks/$stranger?uploads="; then
    warning R8 "this identity may write below other prefixes than its source's, so whoever controls the relay needs one key for all of them" "$POLICY"
    upload=$(tag UploadId)
    [ -z "$upload" ] || call DELETE "/$all$stranger/g1/locks/$stranger?uploadId=$(encoded "$upload")"
  fi
  # For a missing object no service says whether it could be read, so another source's configuration is requested, if there is one.
  neighbour=$(neighbours | head -n 1)
  if [ -n "$neighbour" ] && allowed GET "/$all$neighbour/config" && [ "$status" = 200 ]; then
    warning R8 "this identity may read what is not its source's" "$POLICY"
  fi
}

# neighbours: repositories of other sources on this relay, below the prefix of all sources.
neighbours() {
  for file in "$ROOT_DIR"/relay/*/serve.conf; do
    [ "$file" != "$own/serve.conf" ] && [ -f "$file" ] || continue
    sed -n "s|^arg lastcopy:$bucket/$all\([a-z0-9-]*/g[0-9]*\)/*\$|\1|p" "$file"
  done
}

# retention: ten minutes more for the step's own object, which is locked anyway. Not less, because the lock itself would refuse that. On Ceph
# the writer of an object may do anything with it unless a policy denies it; this shows whether one does.
retention() {
  [ -n "${first:-}" ] && [ -n "$kept" ] || return 0
  printf '<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>' \
    "$found" "$(date -u -d "@$(($(date +%s) + kept * 86400 + 600))" +%FT%TZ)" >"$ground/retention"
  readable "$ground/retention"
  if allowed PUT "/${repository}locks/$probe?retention=&versionId=$(encoded "$first")" "$ground/retention" "Content-MD5: $(md5 "$ground/retention")"; then
    warning R5 "this identity may lock objects for longer, so whoever controls the relay can lock them for decades and run up the bill" "$POLICY"
  fi
}

# settings: documents that no storage can parse, so nothing is set: 403 is a refusal, 400 would have been a change.
settings() {
  printf '<Unfinished' >"$ground/unfinished"
  readable "$ground/unfinished"
  open=
  for setting in lifecycle versioning object-lock policy; do
    if allowed PUT "?$setting=" "$ground/unfinished" "Content-MD5: $(md5 "$ground/unfinished")"; then open="$open, $setting"; fi
  done
  [ -z "$open" ] || lost R4 "this identity may change what bucket '$bucket' is set to (${open#, }), so whoever controls the relay can have every backup expire" "$POLICY"
}

# lifecycle: the bucket's own rules must leave backups in place and readable.
lifecycle() {
  ask '?lifecycle='
  case $status in
    200) ;;
    403)
      unseen "whether the bucket's lifecycle hides backups: this identity may not ask (s3:GetLifecycleConfiguration)"
      return 0
      ;;
    404 | 405 | 501) return 0 ;; # there is none, or the service has none
    *)
      unseen "whether the bucket's lifecycle hides backups: the storage answered $(answered)"
      return 0
      ;;
  esac
  # The objects have no tags, so a rule for tagged objects does not apply to them.
  { tr -d '\n\r' <"$WORK/body" && echo; } | sed 's/<Rule>/\n&/g' | grep '^<Rule>.*<Status>Enabled</Status>' | grep -v '<Tag>' >"$WORK/rules" || true # grep: there is none
  while IFS= read -r rule; do
    part() { printf %s "$rule" | sed -n "s|.*<$1>\(.*\)</$1>.*|\1|p"; }
    prefix=$(part Prefix)
    case $repository in "$prefix"*) ;; *) case $prefix in "$repository"*) ;; *) continue ;; esac ;; esac
    id=$(part ID)
    case "$prefix $(part Expiration) $(part AllVersionsExpiration)" in
      # A source may delete its own locks anyway, and a running backup renews its lock every five minutes; a rule with a date would remove fresh locks, too.
      "$repository"locks/*' <Days>'*'</Days> ') ;;
      *'<Days>'* | *'<Date>'*) lost R1 "the bucket's lifecycle rule '${id:-without a name}' lets current objects expire, so backups vanish by themselves" "remove the rule, or leave only NoncurrentVersionExpiration, ExpiredObjectDeleteMarker and AbortIncompleteMultipartUpload in it; only below '${repository}locks/' may objects expire, by Days" ;;
    esac
    # A rule may have several; what it does with noncurrent versions is called otherwise.
    case $(printf %s "$rule" | sed 's/<Transition>/\n&/g' | grep '^<Transition>' | sed 's|</Transition>.*||') in
      *'>GLACIER<'* | *'>DEEP_ARCHIVE<'*) warning A9 "the bucket's lifecycle rule '${id:-without a name}' moves objects to an archive class, which answers after hours only: restic can then neither prune, check nor restore" "move to STANDARD_IA or GLACIER_IR instead" ;;
    esac
  done <"$WORK/rules"
}
