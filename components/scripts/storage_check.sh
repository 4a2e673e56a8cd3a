# shellcheck shell=sh
# storage_check: the bucket keeps what it gets, and this identity may reach its room, seen with the relay's own eyes before anything is written.
# Values: ENDPOINT, REGION, BUCKET, PREFIX (with its last slash), LOCK_MODE, MINIMUM_DAYS, CA; PATIENCE, where the
# storage takes so many seconds to know an identity that was just made. Secrets: ACCESS_KEY_ID, SECRET_ACCESS_KEY.
AGAIN="then run 'pulumi up' again"

curl_present() {
  command -v curl >/dev/null || packages "curl ca-certificates" "the look at the storage" ||
    refuse "curl is not installed, so the storage cannot be looked at" "run 'pulumi up'"
}

quoted() { value "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'; }
encoded() { printf %s "$1" | sed -e 's|%|%25|g' -e 's|/|%2F|g' -e 's|+|%2B|g' -e 's| |%20|g'; }
tag() { tr -d '\n\r' <"$WORK/body" | sed -n "s|.*<$1>\([^<]*\)</$1>.*|\1|p"; }

# ask QUERY: as look does; an identity that was just made is refused for a while (IAM spreads slowly).
ask() {
  until look "$1" && { [ "$status" != 403 ] || [ "$(date +%s)" -ge "$deadline" ]; }; do sleep 3; done
  explain
}

# look QUERY: GET of the bucket; the answer is in $WORK/body, its status in $status. The key goes in on stdin, never in argv.
look() {
  code=0
  status=$({
    printf 'user = "%s:%s"\n' "$(quoted ACCESS_KEY_ID)" "$(quoted SECRET_ACCESS_KEY)"
    printf 'url = "%s/%s?%s"\n' "$(value ENDPOINT | sed 's|/*$||')" "$(value BUCKET)" "$1"
  } | env -i PATH="$PATH" HOME=/nonexistent curl -K - -s -S --max-time 25 --connect-timeout 8 --proto '=http,https' --noproxy '*' \
    ${ca:+--cacert "$ca"} --aws-sigv4 "aws:amz:$(value REGION):s3" -o "$WORK/body" -w '%{http_code}' 2>"$WORK/answer") || code=$?
  where="$(value ENDPOINT)"
  case $code in
    0) ;;
    6) refuse "the storage's name in $where has no address on the relay" "correct storage endpoint in the stack file, or the host's DNS, $AGAIN" ;;
    35) refuse "no TLS connection with $where: $(sed 's/^curl: //' "$WORK/answer")" "write http:// or https:// as the storage really speaks, $AGAIN" ;;
    51 | 58 | 60 | 77 | 83 | 90 | 91) refuse "the certificate of $where is not trusted by the relay: $(sed -n '1s/^curl: //p' "$WORK/answer")" "set the storage's CA certificate in the stack file to the one that signed it, $AGAIN" ;;
    *) refuse "the storage at $where is not reached from the relay: $(sed -n '1s/^curl: //p' "$WORK/answer")" "check the endpoint in the stack file, that the storage runs, and that no firewall stands between, $AGAIN" ;;
  esac
  reason=$(tag Code)
}

explain() {
  case $reason in
    RequestTimeTooSkewed) refuse "the relay's clock is wrong: the storage refuses its signatures (here it is $(date -u +%FT%TZ))" "set the host's clock, for example: timedatectl set-ntp true, $AGAIN" ;;
    InvalidAccessKeyId) refuse "the storage does not know this access key id" "correct the storage identity's access key id in the stack's configuration" ;;
    SignatureDoesNotMatch) refuse "the storage refuses this secret access key (or the region '$(value REGION)' is wrong)" "correct the storage identity's secret access key or the region in the stack's configuration" ;;
    AuthorizationHeaderMalformed | AuthorizationQueryParametersError | PermanentRedirect | IllegalLocationConstraintException) refuse "the bucket is not in region '$(value REGION)': $(tag Message)" "correct the storage's region and endpoint in the stack file" ;;
    NoSuchBucket) refuse "there is no bucket '$(value BUCKET)' at $where" "create it with Object Lock, or correct its name in the stack file" ;;
  esac
}

denied() { # denied ACTION
  problem "this identity may not ask for it: the storage answered $status ${reason:-without a reason} to $1" "allow the identity $1, $AGAIN"
}

step_apply() {
  case $(value ENDPOINT) in http://* | https://*) ;; *) refuse "the endpoint '$(value ENDPOINT)' is no http or https URL" "correct it in the stack file" ;; esac
  for name in ENDPOINT REGION BUCKET PREFIX ACCESS_KEY_ID SECRET_ACCESS_KEY; do
    [ "$(value "$name" | tr -cd '[:cntrl:]' | wc -c)" = 0 ] || problem "$name holds a line break or another control character" "set it again in the stack's configuration, without one"
  done
  stop_on_problems
  curl_present
  patience=0
  [ -z "${V_PATIENCE:-}" ] || patience=$(value PATIENCE)
  deadline=$(($(date +%s) + patience))
  ca=''
  if [ -n "$(value CA)" ]; then value CA >"$WORK/ca.pem" && ca=$WORK/ca.pem; fi
  recreate="Object Lock can be set when a bucket is created (aws s3api create-bucket --object-lock-enabled-for-bucket …); make a new bucket and name it in the stack file"

  ask 'versioning='
  case $status in
    200)
      versions=$(tag Status)
      [ "$versions" = Enabled ] || problem "bucket '$(value BUCKET)' does not keep versions (versioning is '${versions:-never enabled}'), so what is overwritten or deleted is lost" "$recreate"
      ;;
    403) denied s3:GetBucketVersioning ;;
    *) refuse "the storage answered $status ${reason:-without a reason} when asked for the bucket's versioning" "check that the endpoint speaks S3 and the bucket's name is right" ;;
  esac

  ask 'object-lock='
  mode=$(value LOCK_MODE)
  days=$(value MINIMUM_DAYS)
  case $status in
    200)
      found=$(tag Mode)
      kept=$(tag Days)
      years=$(tag Years)
      [ -z "$years" ] || kept=$((years * 365))
      rule="set it with: aws s3api put-object-lock-configuration --bucket $(value BUCKET) --object-lock-configuration 'ObjectLockEnabled=Enabled,Rule={DefaultRetention={Mode=$mode,Days=$days}}'"
      if [ "$(tag ObjectLockEnabled)" != Enabled ]; then
        problem "bucket '$(value BUCKET)' has no Object Lock" "$recreate"
      elif [ -z "$found" ] || [ -z "$kept" ]; then
        problem "bucket '$(value BUCKET)' has Object Lock but no default retention, so nothing that is written gets locked" "$rule"
      else
        # COMPLIANCE keeps more than GOVERNANCE promises; never the other way round.
        [ "$found" = "$mode" ] || [ "$found" = COMPLIANCE ] ||
          problem "bucket '$(value BUCKET)' locks in mode $found, which an identity with the bypass permission undoes; the stack wants $mode" "$rule"
        [ "$kept" -ge "$days" ] || problem "bucket '$(value BUCKET)' locks for $kept days, the stack wants at least $days" "$rule"
      fi
      ;;
    403) denied s3:GetBucketObjectLockConfiguration ;;
    404) problem "bucket '$(value BUCKET)' has no Object Lock" "$recreate" ;;
    *) problem "the storage answered $status ${reason:-without a reason} when asked for the bucket's Object Lock" "use a storage with S3 Object Lock" ;;
  esac

  ask "list-type=2&max-keys=1&prefix=$(encoded "$(value PREFIX)")"
  case $status in
    200) ;;
    403) denied "s3:ListBucket on prefix $(value PREFIX)" ;;
    *) problem "the storage answered $status ${reason:-without a reason} when asked to list $(value PREFIX)" "check the bucket in the stack file" ;;
  esac
  stop_on_problems
  fact lock "$found $kept days"
}
