# shellcheck shell=sh
# cutoff: the first step that is undone when a source is removed. Values: SOURCE.
# Undoing it needs only the relay, so a dead or hostile source loses its key although no step on its host can be undone (S11).
step_apply() {
  source=$(value SOURCE)
  getent passwd "bk-$source" >/dev/null ||
    refuse "account bk-$source is not on the relay" "run 'pulumi up' without --target: the source's entry comes before this step"
}

step_remove() {
  source=$(value SOURCE)
  gone "/etc/ssh/lastcopy/keys/bk-$source"
  if getent passwd "bk-$source" >/dev/null; then end_processes_of "bk-$source"; fi
}
