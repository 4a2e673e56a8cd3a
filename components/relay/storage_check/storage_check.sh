# shellcheck shell=sh
# shellcheck disable=SC2034,SC2153,SC2154 # set and read across this script and its preludes
# storage_check: before anything else is written, checks that the storage provides what the design needs (A10): by the bucket's settings, by
# an upload, a second write and a removal through the relay's own rclone, and by what this identity is refused.
# prelude: source_account storage_ask storage_proof storage_rights
# Values: SOURCE, ENDPOINT, REGION, BUCKET, PREFIX (the source's, with its last slash), REPOSITORY (below it, with its last slash), ARGUMENTS
# (of rclone, one a line), CHECKSUM (how it sends one: trailer or md5), LOCK_MODE, MINIMUM_DAYS, CA; ACCEPTED, rows of the threat model whose
# loss is accepted on this storage; ACCEPT_BY, the key that adds to them, if there is one; SHARED, if other sources use the identity,
# too; PATIENCE, the seconds that the storage may take to know a new identity. Secrets: ACCESS_KEY_ID, SECRET_ACCESS_KEY, RCLONE_CONF,
# CREDENTIALS (the same key, as RCLONE_CONF names its file).
# `check` only asks for the settings and writes nothing.

# A finding names the row of the threat model that is lost. warning: the run goes on, and every run reports it. lost: the run stops
# unless the stack accepts the loss. unseen: something that could not be checked, which is no fault.
warning() { printf '%s (row %s of docs/threat-model.md); %s\n' "$2" "$1" "$3" >>"$WORK/warnings"; }
lost() {
  case " $(value ACCEPTED) " in
    *" $1 "*) warning "$@" ;;
    *) problem "$2 (row $1 of docs/threat-model.md)" "$3${V_ACCEPT_BY:+, or accept the loss by $(value ACCEPT_BY): [$1]}" ;;
  esac
}
unseen() { printf '%s\n' "$1" >>"$WORK/unseen"; }

step_apply() {
  names
  case $(value ENDPOINT) in http://* | https://*) ;; *) refuse "the endpoint '$(value ENDPOINT)' is no http or https URL" "correct it in the stack file" ;; esac
  for name in ENDPOINT REGION BUCKET PREFIX ACCESS_KEY_ID SECRET_ACCESS_KEY; do
    [ "$(value "$name" | tr -cd '[:cntrl:]' | wc -c)" = 0 ] || problem "$name holds a line break or another control character" "set it again in the stack's configuration, without one"
  done
  stop_on_problems
  known
  curl_present
  patience=0
  [ -z "${V_PATIENCE:-}" ] || patience=$(value PATIENCE)
  deadline=$(($(date +%s) + patience))
  : >"$WORK/warnings"
  : >"$WORK/unseen"
  ground_laid
  versions
  locks
  ask "?list-type=2&max-keys=1&prefix=$(encoded "$(value PREFIX)")"
  case $status in
    200) ;;
    403) denied "s3:ListBucket on prefix $(value PREFIX)" ;;
    *) problem "the storage answered $(answered) when asked to list $(value PREFIX)" "check the bucket in the stack file" ;;
  esac
  if [ "$MODE" = apply ]; then
    # With wrong settings of the bucket an upload would prove nothing.
    [ -s "$WORK/problems" ] || proof
    rights
  fi
  lifecycle
  if [ -s "$WORK/problems" ]; then sed 's/^/warning: /' "$WORK/warnings" >&2; fi
  stop_on_problems
  fact lock "$found $kept days"
  told warning "$WORK/warnings"
  told unseen "$WORK/unseen"
}

told() { # told NAME FILE: each of its lines as a fact
  number=0
  while IFS= read -r line; do
    number=$((number + 1))
    fact "$1$number" "$line"
  done <"$2"
}

# ground_laid: makes the account, and a folder that it can read. Of a source that is not enrolled nothing is left when the step ends.
ground_laid() {
  ground=$(mktemp -d "$RUN_DIR/step.XXXXXX") # the next step removes it, should this one be killed
  rclone_server=
  trap 'ground_cleared; rm -rf "$WORK"' EXIT
  if [ "$MODE" = apply ]; then
    unenrolled_accounts_gone
    cp "$WORK/changed" "$WORK/changed.before"
    account
    if ! enrolled "$source"; then mv "$WORK/changed.before" "$WORK/changed"; fi # it goes again with this step
  fi
  if getent passwd "$account" >/dev/null; then chown "root:$account" "$ground"; fi # `check` makes no account
  chmod 750 "$ground"
  ca=''
  if [ -n "$(value CA)" ]; then value CA >"$ground/ca.pem" && chmod 644 "$ground/ca.pem" && ca=$ground/ca.pem; fi
}

ground_cleared() {
  rclone_down
  rm -rf "$ground"
  [ "$MODE" = apply ] || return 0
  if ! enrolled "$source"; then account_gone "$account"; fi
}

versions() {
  recreate="Object Lock can be set when a bucket is created (aws s3api create-bucket --object-lock-enabled-for-bucket …); make a new bucket and name it in the stack file"
  ask '?versioning='
  case $status in
    200)
      versions=$(tag Status)
      [ "$versions" = Enabled ] || problem "bucket '$bucket' does not keep versions (versioning is '${versions:-never enabled}'), so what is overwritten or deleted is lost (row R3 of docs/threat-model.md)" "$recreate"
      ;;
    403) denied s3:GetBucketVersioning ;;
    *) refuse "the storage answered $(answered) when asked for the bucket's versioning" "check that the endpoint speaks S3 and the bucket's name is right" ;;
  esac
}

locks() {
  ask '?object-lock='
  mode=$(value LOCK_MODE)
  days=$(value MINIMUM_DAYS)
  found='' kept=''
  case $status in
    200)
      found=$(tag Mode)
      kept=$(tag Days)
      years=$(tag Years)
      [ -z "$years" ] || kept=$((years * 365))
      rule="set it with: aws s3api put-object-lock-configuration --bucket $bucket --object-lock-configuration 'ObjectLockEnabled=Enabled,Rule={DefaultRetention={Mode=$mode,Days=$days}}'"
      if [ "$(tag ObjectLockEnabled)" != Enabled ]; then
        problem "bucket '$bucket' has no Object Lock (rows R1, R2 of docs/threat-model.md)" "$recreate"
      elif [ -z "$found" ] || [ -z "$kept" ]; then
        problem "bucket '$bucket' has Object Lock but no default retention, so nothing that is written gets locked (rows R1, R2 of docs/threat-model.md)" "$rule"
      else
        # COMPLIANCE keeps more than GOVERNANCE promises; never the other way round.
        [ "$found" = "$mode" ] || [ "$found" = COMPLIANCE ] ||
          problem "bucket '$bucket' locks in mode $found, which an identity with the bypass permission undoes; the stack wants $mode" "$rule"
        [ "$kept" -ge "$days" ] || problem "bucket '$bucket' locks for $kept days, the stack wants at least $days" "$rule"
      fi
      ;;
    403) denied s3:GetBucketObjectLockConfiguration ;;
    404) problem "bucket '$bucket' has no Object Lock (rows R1, R2 of docs/threat-model.md)" "$recreate" ;;
    *) problem "the storage answered $(answered) when asked for the bucket's Object Lock" "use a storage with S3 Object Lock" ;;
  esac
}
