#!/bin/sh
# release-notes.sh VERSION: prints the section of CHANGELOG.md for that version. Fails unless pyproject.toml has the same version.
set -eu
version=$1
cd "$(dirname "$0")/.."
grep -qxF "version = \"$version\"" pyproject.toml || {
  echo "release-notes: pyproject.toml has another version than $version; fix: set it there, and tag again" >&2
  exit 1
}
notes=$(awk -v "wanted=## $version" '
  /^## / { inside = ($0 == wanted || index($0, wanted " ") == 1); next }
  inside' CHANGELOG.md)
[ -n "$notes" ] || {
  echo "release-notes: CHANGELOG.md has no chapter \"## $version\"; fix: move what is below \"## Unreleased\" there" >&2
  exit 1
}
printf '%s\n' "$notes"
