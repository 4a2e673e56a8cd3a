# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # the step that names this prelude sets: account, ca, deadline; it reads what `known` sets
# storage_ask: prelude of the storage step: signed requests to the storage, and the meaning of its refusals.
# Values: ENDPOINT, REGION, BUCKET. Secrets: ACCESS_KEY_ID, SECRET_ACCESS_KEY.
AGAIN="then run 'pulumi up' again"

# known: the values that every request needs, decoded once. The key stays in this shell's memory.
known() {
  endpoint=$(value ENDPOINT | sed 's|/*$||')
  region=$(value REGION)
  bucket=$(value BUCKET)
  repository=$(value REPOSITORY)
  login=$(printf 'user = "%s:%s"' "$(quoted ACCESS_KEY_ID)" "$(quoted SECRET_ACCESS_KEY)")
}

curl_present() {
  command -v curl >/dev/null || packages "curl ca-certificates" "the look at the storage" ||
    refuse "curl is not installed, so the storage cannot be looked at" "run 'pulumi up'"
}

quoted() { value "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'; }
encoded() { printf %s "$1" | sed -e 's|%|%25|g' -e 's|/|%2F|g' -e 's|+|%2B|g' -e 's|=|%3D|g' -e 's| |%20|g'; }
tag() { tr -d '\n\r' <"$WORK/body" | sed -n "s|.*<$1>\([^<]*\)</$1>.*|\1|p"; }
header() { tr -d '\r' <"$WORK/headers" | sed -n "s/^$1: *//Ip" | tail -n 1; }

# as_source COMMAND…: runs as the source's account, so that the firewall's rule for it is tried as well, with a clean environment. exec, so that
# a background job's process id is that of the command.
as_source() {
  # rclone has only the key of its own configuration, as in a session (serve-restic).
  set -- env -i PATH="$PATH" HOME=/nonexistent LC_ALL=C \
    AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true "$@"
  if getent passwd "$account" >/dev/null; then
    set -- setpriv --reuid "$(id -u "$account")" --regid "$(id -g "$account")" \
      --groups "$(getent group "$account" | cut -d : -f 3)" --no-new-privs --inh-caps=-all -- "$@"
  fi
  exec "$@"
}

# call METHOD TARGET [BODY-FILE [HEADER…]]: one signed request; TARGET is what follows the bucket in the URL. The answer is in $WORK/headers
# and $WORK/body, its status in $status, S3's own error code in $reason. The key is passed on stdin, never in argv; the source's
# account can read the body's file.
call() {
  method=$1 target=$2 body=
  shift 2
  if [ "$#" -gt 0 ]; then
    body=$1
    shift
  fi
  sum=$(sha256sum <"${body:-/dev/null}" | cut -d ' ' -f 1)
  code=0
  {
    printf '%s\nrequest = "%s"\nurl = "%s/%s%s"\n' "$login" "$method" "$endpoint" "$bucket" "$target"
    [ -z "$body" ] || printf 'data-binary = "@%s"\n' "$body"
    case " $* " in *" x-amz-content-sha256: "*) ;; *) printf 'header = "x-amz-content-sha256: %s"\n' "$sum" ;; esac
    for line in "$@"; do printf 'header = "%s"\n' "$line"; done
  } | (as_source curl -q -K - -s -S -i --http1.1 --max-time 25 --connect-timeout 8 --proto '=http,https' --noproxy '*' \
    ${ca:+--cacert "$ca"} --aws-sigv4 "aws:amz:$region:s3") >"$WORK/answer" 2>"$WORK/words" || code=$?
  where=$endpoint
  case $code in
    0) ;;
    6) refuse "the storage's name in $where has no address on the relay" "correct storage endpoint in the stack file, or the host's DNS, $AGAIN" ;;
    35) refuse "no TLS connection with $where: $(sed 's/^curl: //' "$WORK/words")" "write http:// or https:// as the storage really speaks, $AGAIN" ;;
    51 | 58 | 60 | 77 | 83 | 90 | 91) refuse "the certificate of $where is not trusted by the relay: $(sed -n '1s/^curl: //p' "$WORK/words")" "set the storage's CA certificate in the stack file to the one that signed it, $AGAIN" ;;
    *) refuse "the storage at $where is not reached from the relay: $(sed -n '1s/^curl: //p' "$WORK/words")" "check the endpoint in the stack file, that the storage runs, and that no firewall is in between, $AGAIN" ;;
  esac
  # An interim answer (100) has its own headers.
  sed '1{/^HTTP[^ ]* 1[0-9][0-9]/,/^\r*$/d}' "$WORK/answer" | tee "$WORK/whole" | sed '/^\r*$/,$d' >"$WORK/headers"
  sed '1,/^\r*$/d' "$WORK/whole" >"$WORK/body"
  status=$(sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$WORK/headers")
  reason=$(tag Code)
}

# ask TARGET: GET of something that this identity should be allowed. A new identity is refused for a while (IAM is slow), and requests to a new
# bucket may be redirected for a while (S3's DNS is slow).
ask() {
  until call GET "$1" && { [ "$status" != 403 ] && [ "$status" != 307 ] || [ "$(date +%s)" -ge "$deadline" ]; }; do sleep 3; done
  explain
}

explain() {
  case $reason in
    RequestTimeTooSkewed) refuse "the relay's clock is wrong: the storage refuses its signatures (here it is $(date -u +%FT%TZ))" "set the host's clock, for example: timedatectl set-ntp true, $AGAIN" ;;
    InvalidAccessKeyId) refuse "the storage does not know this access key id" "correct the storage identity's access key id in the stack's configuration" ;;
    SignatureDoesNotMatch) refuse "the storage refuses this secret access key (or the region '$region' is wrong)" "correct the storage identity's secret access key or the region in the stack's configuration" ;;
    AuthorizationHeaderMalformed | AuthorizationQueryParametersError | PermanentRedirect | TemporaryRedirect | IllegalLocationConstraintException) elsewhere ;;
    NoSuchBucket) refuse "there is no bucket '$bucket' at $where" "create it with Object Lock, or correct its name in the stack file" ;;
  esac
}

# elsewhere: bucket, endpoint and signature are not of the same region. S3 names the right region in a header or in its answer.
# Redirects are not followed: whoever answers in the storage's place could send this identity's requests anywhere.
elsewhere() {
  there=$(header x-amz-bucket-region)
  there=$(printf %s "${there:-$(tag Region)}" | tr -cd a-z0-9-)
  that=$(tag Endpoint | tr -cd a-z0-9.-)
  that=${that#"$bucket".}
  keys="lastcopy:storage.s3.region${there:+ to '$there'} and lastcopy:storage.s3.endpoint to the endpoint of that region${that:+, https://$that}"
  case $reason in
    PermanentRedirect | TemporaryRedirect)
      if [ -n "$there" ] && [ "$there" != "$region" ]; then
        refuse "bucket '$bucket' is in region '$there', not in region '$region' (the storage at $where answered $(answered))" "set $keys in the stack file, $AGAIN"
      fi
      refuse "bucket '$bucket' is not reached at $where, which is another region's endpoint or does not know a new bucket yet (the storage answered $(answered))" \
        "set lastcopy:storage.s3.endpoint in the stack file to the endpoint of region '$region'${that:+, https://$that}; if it is that already, wait an hour; $AGAIN"
      ;;
  esac
  refuse "the bucket is not in region '$region', or $where is another region's endpoint: $(tag Message)" "set $keys in the stack file, $AGAIN"
}

denied() { # denied ACTION
  problem "this identity may not ask for it: the storage answered $status ${reason:-without a reason} to $1" "allow the identity $1, $AGAIN"
}

# answered: the last answer in words.
answered() { printf '%s %s' "$status" "${reason:-without a reason}"; }
