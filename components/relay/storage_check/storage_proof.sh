# shellcheck shell=sh
# shellcheck disable=SC2153,SC2154 # the step that names this prelude sets: account, own, ground, ca, deadline, found, kept
# storage_proof: prelude of the storage step: what the relay's own rclone, with a session's configuration and arguments, can do below locks/
# of the source's repository, and how the storage reacts.
#
# The objects' names begin with lastcopy-probe-: restic ignores names below locks/ that are not hashes, and recovery ignores
# locks/ altogether, so an object that is left behind does no harm. The next step removes it. A removed object stays as a locked version
# of some bytes, like each of restic's own locks.
PROBE=lastcopy-probe-

# readable FILE: lets the source's account read it.
readable() {
  chgrp "$account" "$1"
  chmod 640 "$1"
}

# rclone_up APPEND-ONLY: starts the session's rclone, on a socket instead of a pipe; its messages are in $WORK/rclone.
rclone_up() {
  tool=$(sed -n 's/^path //p' "$ROOT_DIR/relay/rclone")
  value RCLONE_CONF | sed "s|$own/|$ground/|g" >"$ground/rclone.conf"
  readable "$ground/rclone.conf"
  value CREDENTIALS >"$ground/credentials"
  readable "$ground/credentials"
  install -d -m 700 -o "$account" -g "$account" "$ground/run"
  rm -f "$ground/run/socket"
  value ARGUMENTS >"$WORK/arguments"
  append_only=$1
  set --
  while IFS= read -r word; do
    case $word in
      --stdio) ;;
      --append-only) [ "$append_only" = no ] || set -- "$@" "$word" ;;
      "$own"/*) set -- "$@" "$ground/${word##*/}" ;;
      "$ROOT_DIR/relay/storage-ca.pem") set -- "$@" "$ca" ;;
      *) set -- "$@" "$word" ;;
    esac
  done <"$WORK/arguments"
  # The log contains the storage's refusals only at this level. Only S3's own messages in it are shown.
  as_source timeout -k 5 250 "$tool" "$@" --log-level DEBUG --addr "unix://$ground/run/socket" >"$WORK/rclone" 2>&1 9>&- &
  rclone_server=$!
  tries=0
  until [ -S "$ground/run/socket" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$rclone_server" 2>/dev/null; then
      refuse "the relay's rclone cannot serve this storage: $(said)" "check lastcopy:storage in the stack file, $AGAIN"
    fi
    sleep 0.05
  done
}

rclone_down() {
  [ -n "${rclone_server:-}" ] || return 0
  kill "$rclone_server" 2>/dev/null || true # it ended by itself
  wait "$rclone_server" 2>/dev/null || true # how it ended was asked for by the kill
  rclone_server=
}

# said: the storage's last refusal in rclone's log, otherwise rclone's own last error.
said() {
  sed -n 's/.*StatusCode: \([0-9]*\), RequestID: [^,]*, HostID: [^,]*, \(api error \)\{0,1\}\([A-Za-z0-9]*\): \{0,1\}\(.*\)/\1 \3: \4/p' "$WORK/rclone" |
    tail -n 1 >"$WORK/refusal"
  [ -s "$WORK/refusal" ] || sed -n 's/.* \(ERROR\|CRITICAL\)[ :]*//p' "$WORK/rclone" | tail -n 1 >"$WORK/refusal"
  cut -c 1-250 "$WORK/refusal"
}

# relayed METHOD NAME [FILE]: a request to that rclone, as restic would make it over ssh; its answer in $status.
relayed() {
  status=$(env -i PATH="$PATH" HOME=/nonexistent curl -q -s --max-time 60 --unix-socket "$ground/run/socket" -o "$WORK/body" -w '%{http_code}' \
    -X "$1" ${3:+--data-binary "@$3"} "http://relay/locks/$2") || status="no answer"
}

# the storage's own view of an object: $version, and the answer of `call`.
look() {
  call GET "/${repository}locks/$1"
  version=$(header x-amz-version-id)
}

proof() {
  probe=$PROBE$(date +%s)-$(od -An -N 8 -tx1 /dev/urandom | tr -d ' \n')
  printf 'A proof by lastcopy on %s. It can be removed.\n' "$(date -u +%FT%TZ)" >"$ground/first"
  printf 'A second write of the same name.\n' >"$ground/second"
  left_behind
  missing || return 0
  rclone_up yes
  uploaded || return 0
  look "$probe"
  if grep -q 'kms:' "$WORK/body" && [ "$status" = 403 ]; then
    key_closed "$(answered): $(tag Message | cut -c 1-200) (s3:GetObject)"
    return 0
  fi
  if [ "$status" != 200 ] || ! cmp -s "$WORK/body" "$ground/first"; then
    problem "what rclone uploaded does not come back as it was: the storage answered $(answered) with $(wc -c <"$WORK/body") bytes in place of $(wc -c <"$ground/first")" \
      "choose another way of checksums by lastcopy:storage.s3.checksum (trailer or md5), $AGAIN"
    return 0
  fi
  first=$version
  held_by_a_lock
  second_write
  rclone_up yes
  removal
  rclone_down
  spoiled
}

# left_behind: the objects of a killed step.
left_behind() {
  ask "?list-type=2&prefix=$(encoded "${repository}locks/$PROBE")"
  { tr -d '\n\r' <"$WORK/body" && echo; } | sed 's/<Key>/\n&/g' | sed -n 's|^<Key>\([A-Za-z0-9._/-]*\)</Key>.*|\1|p' >"$WORK/left"
  while read -r key; do call DELETE "/$key"; done <"$WORK/left"
}

# missing: a missing object is answered with 404. If the answer is 403, rclone answers 500: restic can neither make nor open a repository, and rclone
# takes the folder that it should serve for a file and serves the folder above it (S6).
missing() {
  ask "/${repository}locks/$probe"
  case $status in
    404) return 0 ;;
    403)
      problem "the storage answers $(answered) for an object that is not there, so restic can neither make nor open a repository" \
        "Ceph does so before its change of April 2026 (pull request 68577), and others may, where s3:ListBucket is allowed below a prefix only: update the storage, or allow this identity s3:ListBucket on the whole bucket (it then sees the names of all sources, row R8), $AGAIN"
      ;;
    *) problem "the storage answered $(answered) for an object that is not there, in place of 404" "check that the endpoint speaks S3, $AGAIN" ;;
  esac
  return 1
}

# key_closed WORDS: the bucket encrypts with a KMS key (SSE-KMS); the storage names the right that is missing on it.
key_closed() {
  problem "this identity may not use the KMS key that encrypts the bucket's objects: the storage answered $1" \
    "allow it kms:GenerateDataKey and kms:Decrypt on that key, in its own policy and, where the key's policy does not leave that to IAM, in the key's (docs/configuration.md, storage identity of a source), $AGAIN"
}

# uploaded: through rclone, with the checksum that its configuration sends.
uploaded() {
  while :; do
    relayed POST "$probe" "$ground/first"
    [ "$status" != 200 ] || return 0
    refused=$(said)
    case $refused in 403*) [ "$(date +%s)" -lt "$deadline" ] || break ;; *) break ;; esac
    probe=$probe.again
    sleep 3
  done
  case $refused in
    403*kms:*) key_closed "$refused" ;;
    403*) problem "this identity may not upload: the storage answered $refused to s3:PutObject on ${repository}locks/" "give it the policy in docs/configuration.md (storage identity of a source), $AGAIN" ;;
    *Content-MD5* | *x-amz-checksum*) problem "the storage demands a checksum with every upload and got none that it takes: $refused" "choose lastcopy:storage.s3.checksum (trailer or md5) as the service takes it, $AGAIN" ;;
    *XAmzContentSHA256Mismatch* | *NotImplemented* | *Unsupported* | *trailer*) problem "the storage does not take the checksum that rclone sends ($(value CHECKSUM)): $refused" "choose the other lastcopy:storage.s3.checksum (trailer or md5), $AGAIN" ;;
    *) problem "an upload by the relay's rclone failed: ${refused:-rclone answered $status}" "look at what the storage says of it, $AGAIN" ;;
  esac
  return 1
}

# held_by_a_lock: the version has an id, and a lock that lasts as long as the bucket promises.
held_by_a_lock() {
  case $first in
    '' | null) problem "what is written gets no version of its own, so what is overwritten or deleted is lost (row R3 of docs/threat-model.md)" "use a storage whose buckets keep versions, $AGAIN" ;;
  esac
  mode=$(header x-amz-object-lock-mode)
  until=$(header x-amz-object-lock-retain-until-date)
  if [ -z "$until" ]; then
    ask "/${repository}locks/$probe?retention="
    case $status in
      200) mode=$(tag Mode) until=$(tag RetainUntilDate) ;;
      403)
        unseen "whether an upload is locked: this identity may not ask (s3:GetObjectRetention on ${repository}locks/*)"
        return 0
        ;;
    esac
  fi
  ends=$(date -u -d "${until:-never}" +%s 2>/dev/null || echo 0)
  if [ "$ends" = 0 ]; then
    lost R2 "bucket '$bucket' has a default retention, yet what is written is not locked (the storage answered $(answered))" "use a storage that locks each object from its upload"
  elif [ "$ends" -lt $(($(date +%s) + kept * 86400 - 3600)) ] || { [ "$mode" != "$found" ] && [ "$mode" != COMPLIANCE ]; }; then
    lost R2 "what is written is locked in mode ${mode:-none} until $until, not $found for $kept days as the bucket promises" "use a storage that locks each object from its upload; is the storage's clock right?"
  fi
}

# second_write: without rclone's own check, so that only the storage decides, with the header that a session sends.
second_write() {
  rclone_down
  rclone_up no
  relayed POST "$probe" "$ground/second"
  rclone_down
  again=$status
  look "$probe"
  if [ "$again" = 200 ] || [ "$version" != "$first" ] || ! cmp -s "$WORK/body" "$ground/first"; then
    lost S5 "the storage takes a second write of a name although it is told not to (If-None-Match: *), so two uploads at once can replace an object; only rclone's own look before each upload prevents it" \
      "use a service with conditional writes"
  fi
}

# removal: restic must be able to remove its locks; the version below is kept.
removal() {
  relayed DELETE "$probe"
  refused=$(said)
  look "$probe"
  if [ "$status" = 200 ]; then
    problem "restic's locks could not be removed: the storage answered ${refused:-nothing} to s3:DeleteObject on ${repository}locks/" "give the identity the policy in docs/configuration.md (storage identity of a source), $AGAIN"
    return 0
  fi
  case $first in '' | null) return 0 ;; esac
  ask "/${repository}locks/$probe?versionId=$(encoded "$first")"
  if [ "$status" = 200 ] && cmp -s "$WORK/body" "$ground/first"; then return 0; fi
  case $status in
    403) unseen "whether the version below a removed object stays: this identity may not ask (s3:GetObjectVersion on ${repository}locks/*)" ;;
    *) problem "the version below a removed object is gone: the storage answered $(answered) (row R3 of docs/threat-model.md)" "use a storage whose buckets keep versions, $AGAIN" ;;
  esac
}

# spoiled: a body that does not match its checksum, sent as rclone sends it.
spoiled() {
  if [ "$(value CHECKSUM)" = trailer ]; then
    printf '4\r\ndata\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n' >"$ground/spoiled"
    set -- 'x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER' 'x-amz-trailer: x-amz-checksum-crc32' \
      'x-amz-decoded-content-length: 4' 'Content-Encoding: aws-chunked'
  else
    printf data >"$ground/spoiled"
    set -- 'Content-MD5: AAAAAAAAAAAAAAAAAAAAAA=='
  fi
  readable "$ground/spoiled"
  # Not every service accepts the condition; a bucket's policy may require it for every write.
  if grep -q '^If-None-Match' "$WORK/arguments"; then set -- 'If-None-Match: *' "$@"; fi
  call PUT "/${repository}locks/$probe.spoiled" "$ground/spoiled" "$@"
  case $status in
    2??)
      warning A10 "an upload whose checksum is wrong is stored all the same, so damage on the way is noticed by a check that reads the data only" "run 'restic check --read-data-subset' from time to time, or use another service"
      call DELETE "/${repository}locks/$probe.spoiled"
      ;;
    400 | 412 | 422) ;;
    *) unseen "whether the storage compares checksums: it answered $(answered) to an upload with a wrong one" ;;
  esac
}
